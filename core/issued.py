"""What the use cases of families answer: tokens, or why there are none. Pure values; each door has words of its own."""

from typing import NamedTuple

from core.access import AccessClaims, ClientClaims, Refusal
from core.verdict import Answer, Verdict
from events.family import Family
from events.subject import Subject


class Issued(NamedTuple):
    """Tokens of a family that lives."""

    answer: Answer
    access_token: str
    refresh_token: str
    csrf_token: str

    def __repr__(self) -> str:
        return f"Issued(family={self.family.id.hex()})"

    @property
    def family(self) -> Family:
        assert self.answer.family is not None  # noqa: S101 - whoever signs has a family
        return self.answer.family


class Denied(NamedTuple):
    """No tokens, and why."""

    verdict: Verdict
    retry_after: int = 0
    family: bytes | None = None
    reason: str = ""


class Look(NamedTuple):
    """What using a token would come to; `current` where it could be used."""

    verdict: Verdict
    family: Family | None = None
    owner: Subject | None = None


class Present(NamedTuple):
    """Somebody whose access token is good and whose family lives, as committed just now."""

    claims: AccessClaims
    family: Family
    subject: Subject


class Absent(NamedTuple):
    """Nobody whom an access token stands for now: why, and what it says where it is genuine. Not for the caller."""

    why: Refusal
    claims: AccessClaims | ClientClaims | None = None
