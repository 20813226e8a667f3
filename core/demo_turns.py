"""What staff do in a demonstration through the use cases as they are: new signing keys, one end for many sessions."""

from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import NamedTuple

from core.action import Confirmed, Selection
from core.actions import Actions
from core.demo_cast import Cast
from core.demo_pen import origin
from core.demo_stories import Staff
from core.demo_world import MINUTE
from core.keys import Keys


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
        self._responder: Staff = cast.on_call()
        self._confirmed: Confirmed | None = None

    def by_time(self) -> list[Turn]:
        """All of them."""
        first, last, found = self._cast.start, self._cast.end, self._cast.raid.found
        turns = (
            Turn(first + (last - first) * 3 // 10, self._rotate_keys),
            Turn(first + (last - first) * 6 // 10, self._rotate_keys),
            Turn(found, self._freeze),
            Turn(found + MINUTE, self._end),
        )
        return sorted(turns, key=itemgetter(0))

    async def _rotate_keys(self) -> None:
        await self._keys.load()
        await self._keys.rotate(self._cast.on_call()[0])

    async def _freeze(self) -> None:
        """The sessions of the raid, as staff found them; what ended meanwhile is spared."""
        pen, raid, random = self._cast.pen, self._cast.raid, self._cast.random
        actor, presence = self._responder
        self._confirmed = pen.confirmed(random, raid.found, actor, "suspicious", "passwords from another site's leak")
        selection = Selection(self._confirmed.action, actor, raid.query, pen.size, tuple(raid.taken))
        await self._actions.plan(selection, origin(random, presence))

    async def _end(self) -> None:
        assert self._confirmed is not None  # noqa: S101 - it was frozen a minute ago
        came = origin(self._cast.random, self._responder[1])
        await self._actions.confirm(self._confirmed, came, include_new=False)
        await self._actions.carry_out(self._confirmed.action)
