"""What staff do in a demonstration through the use cases as they are: signing keys, one end for many sessions."""

from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import NamedTuple

from core.action import Confirmed, Selection
from core.actions import Actions
from core.demo_cast import Cast
from core.demo_pen import origin
from core.demo_staff import Member
from core.demo_world import MINUTE
from core.keys import Keys
from core.watching import Watching


class Turn(NamedTuple):
    """Everything before it is committed when it happens."""

    at: int
    happens: Callable[[], Awaitable[object]]


class Turns:
    """Who does it, and with what."""

    def __init__(self, cast: Cast, keys: Keys, actions: Actions) -> None:
        self._cast = cast
        self._keys = keys
        self._actions = actions
        self._watching = Watching(actions.ledger)
        self._responder: Member = cast.raid.staff
        self._confirmed: Confirmed | None = None

    def by_time(self) -> list[Turn]:
        """All of them."""
        first, last, found = self._cast.start, self._cast.end, self._cast.raid.found
        turns = (
            Turn(first + (last - first) * 3 // 10, self._rotate_keys),
            Turn(first + (last - first) * 6 // 10, self._rotate_keys),
            Turn(self._cast.leak.found - MINUTE, self._preview_key),
            Turn(self._cast.leak.found, self._revoke_key),
            Turn(found, self._freeze),
            Turn(found + MINUTE, self._end),
        )
        return sorted(turns, key=itemgetter(0))

    async def _rotate_keys(self) -> None:
        await self._keys.load()
        await self._keys.rotate(self._cast.admin.actor, origin(self._cast.random, self._cast.admin.presence))

    async def _preview_key(self) -> None:
        await self._keys.load()
        leak, came = self._cast.leak, origin(self._cast.random, self._cast.leak.staff.presence)
        await self._watching.previewed(leak.session, self._keys.signing.kid, came)

    async def _revoke_key(self) -> None:
        """A copy of the key was where it should not be; the one that is published takes over."""
        leak, random = self._cast.leak, self._cast.random
        note = "the backup that was restored for a test held it"
        confirmed = self._cast.pen.confirmed(random, leak.found, leak.staff.actor, "compromised", note)
        await self._keys.revoke_as(confirmed, self._keys.signing.kid, origin(random, leak.staff.presence))

    async def _freeze(self) -> None:
        """The sessions of the raid, as staff found them; what ended meanwhile is spared."""
        pen, raid, random = self._cast.pen, self._cast.raid, self._cast.random
        actor, presence = self._responder.actor, self._responder.presence
        self._confirmed = pen.confirmed(random, raid.found, actor, "suspicious", "passwords from another site's leak")
        selection = Selection(self._confirmed.action, actor, raid.query, pen.size, tuple(raid.taken))
        await self._actions.plan(selection, origin(random, presence))

    async def _end(self) -> None:
        assert self._confirmed is not None  # noqa: S101 - it was frozen a minute ago
        came = origin(self._cast.random, self._responder.presence)
        await self._actions.confirm(self._confirmed, came, include_new=False)
        await self._actions.carry_out(self._confirmed.action)
