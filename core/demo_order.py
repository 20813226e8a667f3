"""The commands of all stories of a demonstration in order of time, and a batch of them in one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush

from sqlalchemy import Connection

from core.demo_lives import Beginning, Life
from core.policy import SECOND
from events import commit
from events.commit import Failed
from events.decision import Moment, Submission
from events.heads import Head
from events.ledger import MAX_BATCH
from events.writer import untraced


class Waiting:
    """Commands by time, taken up to a moment."""

    def __init__(self, commands: Iterator[Submission]) -> None:
        self._commands = commands
        self._next = next(commands, None)

    def until(self, end: int) -> Iterator[Submission]:
        """Those before it."""
        while self._next is not None and at_of(self._next) < end:
            one, self._next = self._next, next(self._commands, None)
            yield one


class _Coming(tuple[int, int, Submission, Life]):
    """Time and number first: no two are equal, so nothing behind them is compared."""

    __slots__ = ()


def in_order(beginnings: Iterable[Beginning], end: int) -> Iterator[Submission]:
    """What all stories ask for, by time, up to the end. Only stories under way are held."""
    under_way: list[_Coming] = []
    for number, story in enumerate(beginnings):
        while under_way and under_way[0][0] <= story.at:
            yield _foremost(under_way, end)
        _go_on(under_way, number, story.life, end)
    while under_way:
        yield _foremost(under_way, end)


def _foremost(under_way: list[_Coming], end: int) -> Submission:
    _at, number, one, life = heappop(under_way)
    _go_on(under_way, number, life, end)
    return one


def _go_on(under_way: list[_Coming], number: int, life: Life, end: int) -> None:
    following = next(life, None)
    if following is not None and at_of(following) < end:
        heappush(under_way, _Coming((at_of(following), number, following, life)))


def at_of(one: Submission) -> int:
    """Microseconds: here a command arrives at the moment that it is told of."""
    return round(one.arrived * SECOND)


def batches(commands: Iterator[Submission]) -> Iterator[list[Submission]]:
    """As full as the ledger's own; what staff do begins one, so that all that they saw is in the log."""
    batch: list[Submission] = []
    for one in commands:
        if batch and (len(batch) == MAX_BATCH or one.streams.actions):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def write(batch: Sequence[Submission], connection: Connection) -> int:
    """What the ledger does with any batch, but each command has its own time; answers the size of the log.

    Raises what a rule raised: nothing of the batch stays then.
    """
    floor = 0

    def moment(head: Head) -> Moment:
        nonlocal floor
        floor = head.last_at + 1
        return _moment(max(floor, at_of(batch[-1])))

    def each(_batch: Moment, one: Submission, _monotonic: float) -> Moment:
        return _moment(max(floor, at_of(one)))

    result = commit.write(connection, batch, moment, 0, untraced, each)
    wrong = next((one.error for one in result.verdicts if isinstance(one, Failed)), None)
    if wrong is not None:
        raise wrong
    return result.head.size


def _moment(at: int) -> Moment:
    return Moment(now=at, wall=at, arrived=at, ready=0)
