"""Rules about values that count once: a rule that uses one up with whatever it decides. Pure."""

from typing import Any

import msgspec

from events.decision import Decide, Decision, Moment, Need, States, Streams, Use, knowing


def once(use: Use, rule: Decide, again: Any) -> Decide:
    """The rule, whose decision also uses the value up; the verdict `again`, and nothing else, where it was used."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        if states.was_used(use.value):
            return Decision(again)
        found = rule(states, moment)
        return using(use, found) if isinstance(found, Decision) else found

    return knowing(Streams(uses=frozenset((use.value,))), decide)


def spend(use: Use) -> Decide:
    """Use the value up: whether it was new."""
    return once(use, lambda _states, _moment: Decision(True), again=False)


def using(use: Use | None, decision: Decision) -> Decision:
    """The decision, by which the value is used up as well."""
    return decision if use is None else msgspec.structs.replace(decision, uses=(*decision.uses, use))
