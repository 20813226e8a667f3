"""Use cases of subjects: what staff and the command line do with accounts. Knows no HTTP."""

import secrets
import time
from dataclasses import dataclass
from typing import NamedTuple

from core import password, subject
from core.imported import taken
from core.password import Banned, Weakness
from core.passwords import Hasher
from core.subject import Outcome, Register
from core.verdict import STAFF_ROLES
from events import ids
from events.decision import Decide, Origin, Streams
from events.ledger import Ledger
from events.subject import Subject, external_key
from events.subjects import SubjectReader

INITIAL_PASSWORD_BYTES = 18


class BadName(ValueError):
    """This cannot be a login name."""


class BadRoles(ValueError):
    """There are no such roles."""


class WeakPassword(ValueError):
    """The password was not taken; `weakness` says why."""

    def __init__(self, weakness: Weakness) -> None:
        super().__init__(weakness.text)
        self.weakness = weakness


class BadHash(ValueError):
    """This password hash is not known here, or costs too much to check."""


class New(NamedTuple):
    """An account to create. At most one of `password` and `hashed`, and each of them only with a name."""

    actor: str
    name: str = ""
    """Empty for one that signs in elsewhere."""
    password: str = ""
    hashed: str = ""
    """As other software made it."""
    client: str = ""
    """The application that creates it, where one does."""
    external: str = ""
    """What that one calls it: 1 to 254 characters."""

    def __repr__(self) -> str:
        return f"New(actor={self.actor!r})"


class Created(NamedTuple):
    """What became of it, and the account; the one that there was, where it was found."""

    outcome: Outcome
    subject: bytes


@dataclass(frozen=True, slots=True)
class Subjects:
    """Accounts. Every method that writes raises Unavailable when the ledger cannot."""

    ledger: Ledger
    reader: SubjectReader
    hasher: Hasher
    banned: Banned

    def checked(self, given: str, name: str) -> str:
        """The password, if it may be one. Raises WeakPassword."""
        weakness = password.check(given, name=name, banned=self.banned)
        if weakness is not None:
            raise WeakPassword(weakness)
        return given

    async def find(self, name_or_id: str) -> Subject | None:
        """By `sub_…` or by login name."""
        stream = ids.from_text("sub", name_or_id)
        if stream is not None:
            return await self.reader.get(stream)
        return await self.reader.named(subject.compared(name_or_id))

    async def register(self, name: str, given: str, roles: str, actor: str) -> Outcome:
        """Create an account. Raises BadName, BadRoles, WeakPassword."""
        hashed = await self.hasher.hash(self.checked(given, _acceptable(name)))
        command = Register(_new_id(), subject.compared(name), hashed, checked_roles(roles), actor)
        return await self._submit(command.subject, subject.register(command))

    async def create(self, new: New, origin: Origin = Origin()) -> Created:
        """Create an account without a role. Raises BadName, BadHash, WeakPassword; Busy while passwords wait."""
        for text in (new.name, new.external):
            if text:
                _acceptable(text)
        hashed = taken(new.hashed) if new.hashed else ""
        if hashed is None or ((new.hashed or new.password) and not new.name):
            raise BadHash("this password hash is not argon2, bcrypt or scrypt as they are usually written")
        if new.password:
            hashed = await self.hasher.hash(self.checked(new.password, new.name))
        name = subject.compared(new.name)
        command = Register(_new_id(), name, hashed, "", new.actor, new.client, new.external)
        outcome = await self._submit(command.subject, subject.register(command), origin)
        if outcome is not Outcome.FOUND:
            return Created(outcome, command.subject)
        found = await self.reader.called(external_key(new.client, new.external))
        assert found is not None  # noqa: S101 - the rule has just seen it
        return Created(outcome, found.id)

    async def set_password(self, owner: Subject, given: str, actor: str) -> Outcome:
        """Staff set a password; every family of the account ends. Raises WeakPassword."""
        hashed = await self.hasher.hash(self.checked(given, owner.name))
        return await self._submit(owner.id, subject.set_password(owner.id, hashed, actor))

    async def change_roles(self, owner: Subject, roles: str, actor: str) -> Outcome:
        """Replace the roles. Raises BadRoles."""
        return await self._submit(owner.id, subject.change_roles(owner.id, checked_roles(roles), actor))

    async def disable(self, owner: Subject, reason: str, actor: str) -> Outcome:
        """No sign-in any more; all families end in the same commit."""
        return await self._submit(owner.id, subject.disable(owner.id, reason, actor))

    async def enable(self, owner: Subject, actor: str) -> Outcome:
        """Sign-in works again; no family comes back."""
        return await self._submit(owner.id, subject.enable(owner.id, actor))

    async def _submit(self, stream: bytes, decide: Decide, origin: Origin = Origin()) -> Outcome:
        outcome: Outcome = await self.ledger.submit(Streams(subjects=frozenset((stream,))), decide, origin)
        return outcome


def _new_id() -> bytes:
    return ids.new_id(int(time.time() * 1_000_000), secrets.token_bytes(ids.RANDOM_BYTES))


def _acceptable(name: str) -> str:
    if not subject.acceptable(name):
        raise BadName("a name has 1 to 254 characters, no control characters and no space at its ends")
    return name


def checked_roles(roles: str) -> str:
    """Roles in order, each once. Raises BadRoles."""
    wanted = set(roles.replace(",", " ").split())
    unknown = sorted(wanted - STAFF_ROLES)
    if unknown:
        raise BadRoles(f"there is no role {unknown[0]}; there are {', '.join(sorted(STAFF_ROLES))}")
    return " ".join(sorted(wanted))


def initial_password() -> str:
    """A random password of 24 characters."""
    return secrets.token_urlsafe(INITIAL_PASSWORD_BYTES)
