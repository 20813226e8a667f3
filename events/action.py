"""An action, something a person did to one thing or to many: plan, start, end. What it did to each carries its id."""

from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.private import Account

PREFIX = "act"
CHUNK = 400
"""Targets in one event of a frozen selection: 27 characters each, well under the cap on a body."""


class ActionPlanned(Fact):
    """A selection was frozen for a preview. The query as typed is in the account row."""

    TYPE: ClassVar[str] = "action.planned"
    CODE: ClassVar[int] = 81

    kind: str
    """`revoke_selection`."""
    position: int
    """Size of the log when the selection was made."""
    planned: int
    """How many families were selected."""
    digest: str
    """Hexadecimal SHA-256 of the selected ids in order, 16 bytes each."""


class ActionTargeted(Fact):
    """A part of a frozen selection."""

    TYPE: ClassVar[str] = "action.targeted"
    CODE: ClassVar[int] = 82

    families: str
    """Ids, separated by spaces, at most 400."""


class ActionStarted(Fact):
    """The action was confirmed; from here on it is carried out, also after a crash. A note is in the account row."""

    TYPE: ClassVar[str] = "action.started"
    CODE: ClassVar[int] = 83

    kind: str
    """`revoke_family`, `revoke_subject`, `revoke_selection`, `disable_subject`, `enable_subject`, `erase_subject`,
    `revoke_key` or `revoke_master_key`."""
    planned: int
    """How many families it was confirmed for."""
    position: int
    """Size of the log that the preview showed."""
    reason: str
    ticket: str = ""
    target: str = ""
    """The one thing that it is about: a family, subject or key."""
    include_new: int = 0
    """1 where families that began after the preview and match were confirmed too."""


class ActionFinished(Fact):
    """Everything was done."""

    TYPE: ClassVar[str] = "action.finished"
    CODE: ClassVar[int] = 84

    ended: int
    """Families that this action ended."""
    spared: int
    """Families that had ended already."""
    added: int = 0
    """Of those ended, how many began after the preview."""


ActionOpening: TypeAlias = ActionPlanned | ActionStarted
ActionChange: TypeAlias = ActionTargeted | ActionStarted | ActionFinished

PLANNED = "planned"
STARTED = "started"
FINISHED = "finished"


class Action(msgspec.Struct, frozen=True):
    """The fold of an action's facts. Times are microseconds since the epoch."""

    id: bytes
    version: int
    status: str
    kind: str
    actor: str
    target: str
    position: int
    planned: int
    digest: str
    begun_at: int
    started_at: int = 0
    finished_at: int = 0
    reason: str = ""
    ticket: str = ""
    include_new: int = 0
    ended: int = 0
    spared: int = 0
    added: int = 0
    query: str = ""
    """What selected the families, as it was typed (from a private row)."""
    note: str = ""
    """As it was typed (from a private row)."""


def begin(stream: bytes, at: int, fact: ActionOpening, account: Account) -> Action:
    """An action begins with a plan, or at once with its start."""
    if isinstance(fact, ActionPlanned):
        return Action(
            id=stream,
            version=1,
            status=PLANNED,
            kind=fact.kind,
            actor=fact.actor,
            target="",
            position=fact.position,
            planned=fact.planned,
            digest=fact.digest,
            begun_at=at,
            query=account.note,
        )
    return Action(
        id=stream,
        version=1,
        status=STARTED,
        kind=fact.kind,
        actor=fact.actor,
        target=fact.target,
        position=fact.position,
        planned=fact.planned,
        digest="",
        begun_at=at,
        started_at=at,
        reason=fact.reason,
        ticket=fact.ticket,
        include_new=fact.include_new,
        note=account.note,
    )


def evolve(state: Action, at: int, fact: ActionChange, account: Account) -> Action:
    """The state after one more fact."""
    version = state.version + 1
    match fact:
        case ActionTargeted():
            return msgspec.structs.replace(state, version=version)
        case ActionStarted():
            return msgspec.structs.replace(
                state,
                version=version,
                status=STARTED,
                actor=fact.actor,
                planned=fact.planned,
                started_at=at,
                reason=fact.reason,
                ticket=fact.ticket,
                include_new=fact.include_new,
                note=account.note,
            )
        case ActionFinished():
            return msgspec.structs.replace(
                state,
                version=version,
                status=FINISHED,
                finished_at=at,
                ended=fact.ended,
                spared=fact.spared,
                added=fact.added,
            )
        case _:
            assert_never(fact)
