"""What core answers about families, and what every rule of them shares. Pure values."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from core.policy import SECOND, Policy
from events import family, ids, subject
from events.decision import Change, Moment
from events.fact import Fact
from events.family import Family
from events.private import Account

HOLDER = "subject"
"""Actor of what the holder of a token or password did."""
POLICY = "policy"
SYSTEM = "system"
STAFF_ROLES = frozenset({"viewer", "responder", "admin"})


class Verdict(StrEnum):
    """What core answers. Outside, one table in each door turns it into a status."""

    BEGUN = "begun"
    ROTATED = "rotated"
    RETRIED = "retried"
    CURRENT = "current"
    ENDED = "ended"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REUSED = "reused"
    REFUSED = "refused"
    AHEAD = "ahead"
    INVALID = "invalid"
    """Name or password are wrong, or may not be used here: nobody is told which."""
    BLOCKED = "blocked"
    FACTOR = "factor"
    """A second factor is needed, or the one that was given does not count."""
    STALE = "stale"
    """The attempt took too long, or was carried through before."""
    THROTTLED = "throttled"
    SCOPE = "scope"
    """More was asked for than may be had; nothing was used up."""
    PROOF = "proof"
    """The proof of the family's key is missing, or came before; nothing was used up."""
    TARGET = "target"
    """The token would be for somebody that the client may not address; nothing was used up."""


class Answer(NamedTuple):
    """A verdict, the family after it, and what an access token needs where one is due."""

    verdict: Verdict
    family: Family | None = None
    reason: str = ""
    jti: str = ""
    issued_at: int = 0
    """`iat` in seconds, from the wall clock."""
    expires_at: int = 0
    roles: str = ""
    ended: int = 0
    """How many families this ended."""
    omitted: bool = False
    """Whether this refusal was left out of the log, because there is one of this minute."""
    audience: str = ""
    """Whom the access token is for; empty for that of the settings."""
    scope: str = ""
    """What the access token may be used for."""
    jkt: str = ""
    """Thumbprint of the key that the access token is bound to."""


class Tags(NamedTuple):
    """Device, network and country of a request, as one family sees them under one master key."""

    device: str
    network: str
    country: str = ""
    """Empty where none is known."""


TagsFor = Callable[[int, bytes], Tags]
"""Tags under a master key number for a family or subject; bound to the request, pure."""


def about(state: Family) -> dict[str, str]:
    """Whose family it is and of which client, as every fact of it says."""
    return {"subject": ids.to_text(subject.PREFIX, state.subject), "client": state.client}


def access_expiry(moment: Moment, applied: Policy, ends_at: int) -> int:
    """`exp` of an access token issued now, seconds; never past the family's end."""
    return min(moment.wall // SECOND + applied.access_ttl, ends_at // SECOND)


def folded(state: Family, now: int, facts: Iterable[Fact]) -> Family:
    """The family after these facts."""
    for fact in facts:
        state = family.evolve(state, now, fact, Account())  # type: ignore[arg-type]
    return state


def changes(state: Family, facts: Iterable[Fact]) -> tuple[Change, ...]:
    """The facts as changes of the family."""
    return tuple([Change(state.id, fact) for fact in facts])
