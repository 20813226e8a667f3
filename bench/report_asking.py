"""The page's part on asking whether a token is good: each target met or not, and how to read it. Measures nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from bench.figures import Spread, Target, ratios, spread
from bench.gateway import Pair
from bench.report import TARGET_COLUMNS, TIMES, as_line, table
from bench.verifier import REVOKED, Decodes

WANTED: Final = 0.7
WANTED_OF_CLIENT: Final = 0.8


CONNECTIONS: Final = (64, 1)
"""The targets are of the first."""


class Asked(NamedTuple):
    """Everything of one run."""

    machine: Sequence[tuple[str, str]]
    routes: Mapping[tuple[str, int], Sequence[Pair]]
    """By route and number of connections."""
    decodes: Mapping[str, Decodes]
    """By algorithm."""


def targets(found: Asked) -> list[Target]:
    """What must hold, and what this run came to."""
    told = []
    for (route, connections), pairs in found.routes.items():
        if connections == CONNECTIONS[0]:
            rates = ratios([one.read.rate for one in pairs], [one.known.rate for one in pairs])
            told.append(_target(f"{route}, answers a second, against the same without reading", WANTED, rates))
            told.append(_target(f"{route}, the same by processor time", WANTED, _each(pairs)))
    return told + [
        _target(f"the Python client, {name}, against a bare decode", WANTED_OF_CLIENT, one.ratio)
        for name, one in found.decodes.items()
    ]


def part(found: Asked) -> str:
    """Markdown."""
    lines = [
        (str(at), route, side, spread([one.rate for one in of]).told(0), spread([one.each * 1e6 for one in of]).told(0))
        for (route, at), pairs in found.routes.items()
        for side, of in (("reads", [one.read for one in pairs]), ("does not", [one.known for one in pairs]))
    ]
    decodes = [(name, f"{one.bare:.0f}", f"{one.ours:.0f}") for name, one in found.decodes.items()]
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "revoked": f"{REVOKED:,}"}
    return "\n".join(
        (
            HEAD.format(**facts),
            table(TARGET_COLUMNS, map(as_line, targets(found))),
            table(("connections", "", "", "per second", "processor for each, \N{MICRO SIGN}s"), lines),
            BESIDE,
            table(("one verification", "bare PyJWT, \N{MICRO SIGN}s", "the client, \N{MICRO SIGN}s"), decodes),
            CLIENT.format(**facts),
            table(("", ""), found.machine),
        )
    )


def _each(pairs: Sequence[Pair]) -> Spread:
    return ratios([one.known.each for one in pairs], [one.read.each for one in pairs])


def _target(what: str, wanted: float, reached: Spread) -> Target:
    return Target(
        what, f"\N{GREATER-THAN OR EQUAL TO} {wanted} {TIMES}", reached.told(unit=f" {TIMES}"), reached.median >= wanted
    )


HEAD: Final = """# Asking about tokens

`make bench` measures this, and `python -m bench.asking` does it alone; on {date}. Both sides of each ratio were taken
one right after the other. Rates suffer from what else runs on the machine; the service's own processor time does not.
"""
BESIDE: Final = """*reads* is the service as it is: every answer is of what is committed. *does not* is the same route
of the same service behind the same middleware: it verifies the same access token and answers the same bytes, and family
and user are a value in memory. Requests that wait together share one SELECT, and their answers leave together, so under
load a reading costs each of them a wait and next to no processor time; who asks alone pays for one by itself.
"""
CLIENT: Final = """The client does what PyJWT leaves out (type, header and claims by the letter, every member once) and
holds each token against {revoked} revocations that it follows; keys and revocations are in memory on both sides.
"""
