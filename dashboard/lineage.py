"""The picture of a family: who used it from where, generation by generation, and where a used token came back. Pure.

A change of device, network or country is a mark on the use that brought it, by what the client's policy said to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from core.address import network_of
from dashboard import telling
from dashboard.moves import Move
from dashboard.story import NOTABLE_GAP, Run, Step
from events import family
from events.history import Event

STEP: Final = 78
LANE: Final = 62
LEFT: Final = 178
TOP: Final = 30
MOST_NODES: Final = 34
"""Of a longer picture the first few and the last ones are drawn; the story below has them all."""
FIRST: Final = 3
MOST_LANES: Final = 5
_GIVES = (family.TokenIssued, family.TokenRotated)
_ENDS = (family.FamilyRevoked, family.FamilyExpired)
_DRAWN = (*_GIVES, *_ENDS, family.TokenRetried, family.TokenReuseDetected, family.TokenRefused)


class Node(NamedTuple):
    """One mark, a link to its event."""

    x: int
    y: int
    kind: str
    """`good`, `run`, `retried`, `reuse`, `refused`, `end`, `lapse` or `more`."""
    label: str
    href: str
    told: str
    when: str
    """Hours and minutes, where they are others than those of the mark before."""
    at: str
    """The same moment for programs: RFC 3339."""
    gap: str
    """How long nothing happened before it, where that is worth saying."""
    mark: str = ""
    """`new country`, where it came from another one than before."""
    answer: str = ""
    """What was said to that: `observed`, `refused` or `ended`."""


class Edge(NamedTuple):
    """A line between two marks."""

    path: str
    fork: bool
    """Whether it leads from the generation that was used up to where it came back."""


class Lane(NamedTuple):
    """One place: an address or its network, and a device."""

    y: int
    where: str
    device: str
    alarm: bool


class Picture(NamedTuple):
    """Everything that is drawn."""

    width: int
    height: int
    lanes: list[Lane]
    nodes: list[Node]
    edges: list[Edge]
    told: str
    """The same in a sentence."""

    @property
    def answers(self) -> list[str]:
        """What was said to changes, each answer once, in the order of the picture."""
        return list(dict.fromkeys(node.answer for node in self.nodes if node.answer))


class _Pen:
    def __init__(self, moves: Mapping[int, Move]) -> None:
        self.moves = moves
        """By the position of the event that is drawn for each."""
        self.lanes: dict[tuple[str, str], int] = {}
        self.labels: list[tuple[str, str]] = []
        self.alarms: set[int] = set()
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.given: dict[int, Node] = {}
        """Where each generation was issued."""
        self.last: Node | None = None
        """The mark that the next good one goes on from."""
        self.at = 0
        self.clock = ""

    def lane(self, event: Event, device: str) -> int:
        key = (network_of(event.context.ip) or event.context.ip, device)
        if key not in self.lanes:
            if len(self.labels) == MOST_LANES:
                self.labels[-1] = ("other places", "")
            if len(self.labels) < MOST_LANES:
                self.labels.append((event.context.ip or "not known", device))
            self.lanes[key] = len(self.labels) - 1
        return self.lanes[key]

    @staticmethod
    def lane_of(node: Node) -> int:
        """The lane that a mark stands in."""
        return (node.y - TOP - LANE // 2) // LANE

    def mark(self, lane: int, kind: str, label: str, event: Event, told: str, until: int | None = None) -> Node:
        silence = event.at - self.at if self.nodes else 0
        gap = telling.span(silence) if silence >= NOTABLE_GAP else ""
        clock = telling.clock(event.at)[:5]
        x = LEFT + STEP // 2 + STEP * len(self.nodes)
        when = clock if clock != self.clock else ""
        move = self.moves.get(event.position)
        node = Node(
            x, TOP + LANE // 2 + LANE * lane, kind, label, f"#e{event.position}", told, when, telling.iso(event.at), gap
        )
        if move is not None:
            node = node._replace(mark=move.mark, answer=move.answer, told=f"{told} {move.told}.")
        self.at, self.clock = until or event.at, clock
        self.nodes.append(node)
        return node

    def join(self, start: Node | None, end: Node, *, fork: bool = False) -> None:
        if start is None:
            return
        middle = (end.x - STEP // 2) if not fork else start.x + STEP // 3
        bend = f"M{start.x} {start.y} H{middle} L{middle} {end.y} H{end.x}"
        self.edges.append(Edge(f"M{start.x} {start.y} H{end.x}" if start.y == end.y and not fork else bend, fork))


def picture(parts: Sequence[Step | Run], moves: Mapping[int, Move] = MappingProxyType({})) -> Picture:
    """Draw the parts of a story, oldest first, with the moves in it."""
    pen = _Pen(_drawn(parts, moves))
    shown = [part for part in parts if isinstance(part, Run) or isinstance(part.row.event.fact, _DRAWN)]
    left_out = len(shown) - MOST_NODES
    kept = shown if left_out <= 0 else [*shown[:FIRST], *shown[FIRST + left_out :]]
    for number, part in enumerate(kept):
        first = part.first if isinstance(part, Run) else part
        omitted = first.omitted + (left_out if left_out > 0 and number == FIRST else 0)
        if omitted > 0 and pen.last is not None:
            _more(pen, first, omitted)
        if isinstance(part, Run):
            _run(pen, part)
        else:
            _step(pen, part)
    lanes = [
        Lane(TOP + LANE // 2 + LANE * number, where, device, number in pen.alarms)
        for number, (where, device) in enumerate(pen.labels)
    ]
    width = LEFT + STEP * max(1, len(pen.nodes)) + 16
    return Picture(width, TOP + LANE * max(1, len(lanes)) + 22, lanes, pen.nodes, pen.edges, _told(lanes, pen.nodes))


def _drawn(parts: Sequence[Step | Run], moves: Mapping[int, Move]) -> dict[int, Move]:
    """The moves by what is drawn: one that was let be is drawn at the rotation that it came with, which follows it."""
    found: dict[int, Move] = {}
    came: Move | None = None
    for event in _events(parts):
        move = moves.get(event.position)
        if isinstance(event.fact, family.FamilyContextChanged):
            came = move
            continue
        move, came = move or came, None
        if move is not None:
            found[event.position] = move
    return found


def _events(parts: Sequence[Step | Run]) -> Iterator[Event]:
    for part in parts:
        yield part.first.row.event if isinstance(part, Run) else part.row.event


def _more(pen: _Pen, before: Step, count: int) -> None:
    assert pen.last is not None  # noqa: S101 - the caller looked
    node = pen.mark(pen.lane_of(pen.last), "more", f"{count} more", before.row.event, f"{count} events are not drawn")
    pen.join(pen.last, node)
    pen.last = node


def _run(pen: _Pen, part: Run) -> None:
    first, last = part.first.row, part.last.row
    lane = pen.lane(first.event, first.device)
    told = f"Refreshed {len(part.steps)} times, up to generation {part.generation}"
    node = pen.mark(lane, "run", f"{len(part.steps)}\N{MULTIPLICATION SIGN}", first.event, told, until=last.event.at)
    pen.join(pen.last, node)
    for step in part.steps:
        fact = step.row.event.fact
        if isinstance(fact, family.TokenRotated):
            pen.given[fact.generation] = node
    pen.last = node


def _step(pen: _Pen, step: Step) -> None:
    row = step.row
    fact, event, told = row.event.fact, row.event, row.told.sentence
    if isinstance(fact, _ENDS):
        # What ends by a policy's answer to where it came from ends there; anything else, where the family was.
        stays = event.position not in pen.moves
        here = pen.lane_of(pen.last) if pen.last is not None and stays else pen.lane(event, row.device)
        kind = "end" if isinstance(fact, family.FamilyRevoked) else "lapse"
        node = pen.mark(here, kind, "ended", event, told)
        pen.join(pen.last, node)
        pen.last = node
        return
    lane = pen.lane(event, row.device)
    match fact:
        case family.TokenIssued() | family.TokenRotated():
            generation = fact.generation if isinstance(fact, family.TokenRotated) else 1
            node = pen.mark(lane, "good", f"g{generation}", event, told)
            pen.join(pen.last, node)
            pen.given[generation] = pen.last = node
        case family.TokenReuseDetected():
            pen.alarms.add(lane)
            node = pen.mark(lane, "reuse", f"g{fact.generation} again", event, told)
            pen.join(pen.given.get(fact.generation), node, fork=True)
        case family.TokenRetried():
            pen.mark(lane, "retried", f"g{fact.generation} again", event, told)
        case family.TokenRefused():
            pen.mark(lane, "refused", "refused", event, told)


def _told(lanes: Sequence[Lane], nodes: Sequence[Node]) -> str:
    reuse = next((node for node in nodes if node.kind == "reuse"), None)
    places = "one place" if len(lanes) == 1 else f"{len(lanes)} places"
    said = f"{len(nodes)} marks in order of time, from {places}."
    changes = [node.answer for node in nodes if node.answer]
    if changes:
        counted = (f"{changes.count(answer)} {answer}" for answer in dict.fromkeys(changes))
        said += f" Changes of device, network or country: {', '.join(counted)}."
    return f"{said} {reuse.told}" if reuse else said
