"""What a batch has to see, read in as few statements as there are kinds of it. Decides nothing and writes nothing."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from events import projections, uses
from events.action import Action
from events.client import Client
from events.decision import States, Streams
from events.family import Family
from events.key import Key
from events.log import Log
from events.subject import Subject
from events.webhook import Webhook


def union(wishes: Iterable[Streams]) -> Streams:
    """All that any of them wants."""
    return Streams(*(frozenset().union(*wanted) for wanted in zip(*wishes, strict=True)))


def read(connection: Connection, states: States, streams: Streams) -> None:
    """Read those of the streams that are not known yet; one that does not exist is known to be nothing."""
    lacking = states.lacking(streams)
    if lacking is None:
        return
    if lacking.families:
        _read_families(connection, states, lacking.families)
    kinds: tuple[tuple[type[Any], frozenset[bytes]], ...] = (
        (Subject, lacking.subjects),
        (Client, lacking.clients),
        (Key, lacking.keys),
        (Log, lacking.logs),
        (Action, lacking.actions),
        (Webhook, lacking.webhooks),
    )
    for kind, wanted in kinds:
        if wanted := wanted.difference(states.by_stream):
            states.by_stream.update(dict.fromkeys(wanted))
            states.by_stream.update((state.id, state) for state in projections.load(connection, kind, wanted))
    if lacking.living_of:
        _read_living(connection, states, lacking.living_of)
    if lacking.names:
        _read_names(connection, states, lacking.names)
    if lacking.uses:
        found = uses.used(connection, lacking.uses)
        states.used.update({value: value in found for value in lacking.uses})


def _read_families(connection: Connection, states: States, families: frozenset[bytes]) -> None:
    """Whose they are comes with them; a subject that changed earlier in this batch is newer than its row."""
    states.by_stream.update(dict.fromkeys(families))
    for family, owner in projections.load_held(connection, families):
        states.by_stream[family.id] = family
        states.by_stream.setdefault(family.subject, owner)


def _read_living(connection: Connection, states: States, subjects: frozenset[bytes]) -> None:
    states.living.update((one, set()) for one in subjects)
    for state in states.by_stream.values():
        # families that began or changed earlier in this batch are newer than their rows
        if isinstance(state, Family) and state.subject in subjects:
            states.living[state.subject].add(state.id)
    for family in projections.living_families(connection, subjects):
        states.by_stream.setdefault(family.id, family)
        states.living[family.subject].add(family.id)


def _read_names(connection: Connection, states: States, names: frozenset[str]) -> None:
    begun = {name: s.id for s in states.by_stream.values() if isinstance(s, Subject) for name in s.names}
    states.named.update({name: begun.get(name) for name in names})
    for owner in projections.subjects_named(connection, names):
        states.by_stream.setdefault(owner.id, owner)
        states.named.update(dict.fromkeys(owner.names, owner.id))
