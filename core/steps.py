"""Steps on the way through a second factor, see `step.py`: given to a browser, read again. Writes nothing."""

import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from core import step
from core.issuer import Issuer
from core.step import Purpose, Step
from core.token import Token
from core.tools import Tools
from core.visit import Visit
from events.family import Family
from events.subject import Subject


class Session(NamedTuple):
    """Somebody who is signed in at the dashboard."""

    owner: Subject
    family: Family
    token: Token


@dataclass(frozen=True, slots=True)
class Steps:
    """Each belongs to one browser, one purpose and one person."""

    tools: Tools
    issuer: Issuer

    def begun(self, session: Session, purpose: Purpose, visit: Visit) -> str:
        """A step inside a session."""
        return self.mint(purpose, session.family.id, 0, visit)

    def csrf_token(self, text: str) -> str:
        """The CSRF token of a form that belongs to a step."""
        return self.issuer.csrf_token(sha256(text.encode()).digest())

    def csrf_matches(self, text: str, given: str) -> bool:
        """Whether it is that one."""
        return self.issuer.csrf_matches(sha256(text.encode()).digest(), given)

    def challenge(self, found: Step) -> bytes:
        """What an authenticator signs for this step."""
        return step.challenge(found, self.tools.master.step_key(found.key) or b"")

    def mint(self, purpose: Purpose, whose: bytes, version: int, visit: Visit) -> str:
        """A new step: about whom, and at which version of the password."""
        master, at = self.tools.master, int(self.tools.wall())
        nonce = secrets.token_bytes(step.NONCE_BYTES)
        made = Step(purpose, master.current, whose, version, at, nonce, self._device(master.current, whose, visit))
        return step.mint(made, master.step_key(master.current) or b"")

    def read(self, text: str, purpose: Purpose, visit: Visit) -> Step | None:
        """One of ours, for this purpose, in time, and still in the browser that it was given to."""
        found = step.read(text, purpose, self.tools.master.step_key, self.tools.wall())
        return found if found and found.device == self._device(found.key, found.whose, visit) else None

    def network(self, owner: Subject, visit: Visit) -> str:
        """The tag of the network that a request came from, as this owner's events have it."""
        return self.issuer.tags(visit.presence)(self.tools.master.current, owner.id).network

    def _device(self, number: int, whose: bytes, visit: Visit) -> bytes:
        tag = visit.presence.device_tag(self.tools.master.tag_key(number) or b"", whose)
        return urlsafe_b64decode(tag + "=")
