"""Receipts: what an action did and whether it worked, tested again with each look. Reads only; changes nothing."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from core import master_revocation
from core.actions import Effect, Receipt, kind_of
from core.key_revocation import KIND
from core.revocations import CaughtUp
from core.verdict import Verdict
from dashboard import answers, erasure_receipt, key_receipt, rows, telling
from dashboard.door import VIEWER, Door, Given, GivenStaff
from dashboard.erasure_receipt import ErasureProof
from dashboard.gate import wants
from dashboard.key_receipt import KeyProof
from dashboard.missing import nothing
from dashboard.source import source_of
from events import action, family, ids, subject
from events.action import FINISHED, PLANNED, STARTED, Action

LATEST: Final = 50
TESTED: Final = 25
"""Families of an action whose refresh rule is asked on each look."""
REFUSALS: Final = {
    Verdict.REVOKED: "revoked",
    Verdict.EXPIRED: "expired",
    Verdict.REUSED: "revoked after reuse",
    Verdict.REFUSED: "refused",
    Verdict.UNKNOWN: "unknown",
}
STATES: Final = {
    PLANNED: ("◇", "quiet", "Not confirmed"),
    STARTED: ("◔", "warn", "Under way"),
    FINISHED: ("✓", "good", "Done"),
}


class Deed(NamedTuple):
    """An action in a list."""

    state: Action
    public_id: str
    kind: str
    status: tuple[str, str, str]
    actor: str
    target: tuple[str, str]
    reason: str


class Line(NamedTuple):
    """One family on a receipt."""

    effect: Effect
    public_id: str
    name: str
    told: str
    access_left: str


class Proof(NamedTuple):
    """A receipt with the names that its page shows."""

    receipt: Receipt
    public_id: str
    actor: str
    kind: str
    lines: list[Line]
    target: tuple[str, str]
    """Address and name of what it was about; empty where that was a selection."""
    alive: int
    """Families that may still have an access token alive."""
    left: str
    share: float
    """How much of the time is over until the last access token ends, 0 to 1."""
    key: KeyProof | None
    """Where the action was about a signing key."""
    erasure: ErasureProof | None
    """Where the action erased somebody."""
    caught_up: CaughtUp | None
    """Verifiers that follow revocations; None where the action revoked nothing."""

    @property
    def status(self) -> tuple[str, str, str]:
        return STATES[self.receipt.action.status]

    @property
    def refused(self) -> bool:
        return all(line.effect.refused for line in self.lines)

    @property
    def pace(self) -> int:
        """Seconds until it is worth looking again, 0 where nothing will change but what others try."""
        if self.receipt.action.status == STARTED:
            return 2
        return 0 if self.receipt.action.status == PLANNED or not self.alive else 5


@get("/actions/{action_id:str}", opt=wants(VIEWER))
async def show(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, action_id: FromPath[str]
) -> Response[Any]:
    """The receipt, with the self-test run anew."""
    stream = ids.from_text(action.PREFIX, action_id)
    receipt = await door.actions.receipt(stream, TESTED) if stream else None
    if receipt is None:
        raise nothing("action", action.PREFIX, action_id)
    if receipt.action.status == PLANNED:
        return answers.see_other(f"/dashboard/kills/{action_id}")
    proof = await _proof(door, receipt)
    if answers.wants_json(request):
        return answers.json(_as_json(proof))
    return answers.html(
        door.pages.render(
            "action.html",
            staff=staff,
            proof=proof,
            receipt=receipt,
            state=receipt.action,
            reason=telling.reason(receipt.action.reason),
            denied_query=_denied_query(proof),
            source=source_of(receipt.action.query) if receipt.action.query else None,
            now=door.now(),
        )
    )


@get("/actions", opt=wants(VIEWER))
async def latest(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """What staff did, the newest first."""
    found = await told(door, LATEST)
    if answers.wants_json(request):
        return answers.json({"actions": [as_json(one.state) for one in found]})
    return answers.html(door.pages.render("actions.html", staff=staff, actions=found, now=door.now()))


async def told(door: Door, limit: int) -> list[Deed]:
    """The latest actions with the names that a list shows. Raises Unavailable."""
    found = await door.actions.reader.latest(limit)
    names = await door.subject_reader.names(frozenset(_people(found)))
    return [
        Deed(
            one,
            ids.to_text(action.PREFIX, one.id),
            kind_of(one),
            STATES[one.status],
            who(one.actor, names),
            _target(one, names),
            telling.reason(one.reason) if one.reason else "",
        )
        for one in found
    ]


def who(actor: str, names: dict[bytes, str]) -> str:
    """Staff by name, others in words."""
    stream = ids.from_text(subject.PREFIX, actor.removeprefix(rows.STAFF))
    return names.get(stream, telling.short(actor.removeprefix(rows.STAFF))) if stream else rows.ACTORS.get(actor, actor)


async def _proof(door: Door, receipt: Receipt) -> Proof:
    state, now = receipt.action, door.now()
    people = {*_people([state]), *(effect.family.subject for effect in receipt.effects)}
    names = await door.subject_reader.names(frozenset(people))
    lines = [_line(effect, names, now) for effect in receipt.effects]
    key = await key_receipt.proof_of(door, state)
    until, began = key.until if key else receipt.alive_until * telling.SECOND, state.started_at
    last = key.position if key else receipt.last
    caught_up = None if last is None else await door.revocations.caught_up(last)
    alive = receipt.alive + (1 if key else 0)
    share = min(1.0, max(0.0, (now - began) / (until - began))) if until > began else 1.0
    return Proof(
        receipt,
        ids.to_text(action.PREFIX, state.id),
        who(state.actor, names),
        kind_of(state),
        lines,
        _target(state, names),
        alive if until > now else 0,
        telling.span(until - now) if until > now else "",
        share,
        key,
        await erasure_receipt.proof_of(door, state),
        caught_up,
    )


def _line(effect: Effect, names: dict[bytes, str], now: int) -> Line:
    state = effect.family
    until = effect.access_until * telling.SECOND
    return Line(
        effect,
        ids.to_text(family.PREFIX, state.id),
        names.get(state.subject, ""),
        REFUSALS.get(effect.verdict, effect.verdict.value) if effect.refused else "would be accepted",
        telling.span(until - now) if until > now else "",
    )


def _people(found: list[Action]) -> set[bytes]:
    texts = {text for one in found for text in (one.actor.removeprefix(rows.STAFF), one.target)}
    return {stream for text in texts if (stream := ids.from_text(subject.PREFIX, text))}


def _target(state: Action, names: dict[bytes, str]) -> tuple[str, str]:
    if state.kind == KIND:
        return "/dashboard/keys", f"{state.target[:8]}…"
    if state.kind == master_revocation.KIND:
        return "/dashboard/keys", f"number {state.target}"
    stream = ids.from_text(subject.PREFIX, state.target)
    if stream:
        return f"/dashboard/subjects/{state.target}", names.get(stream, telling.short(state.target))
    if state.target.startswith(family.PREFIX):
        return f"/dashboard/families/{state.target}", telling.short(state.target)
    return "", ""


def _denied_query(proof: Proof) -> str:
    """The events behind the count of denied attempts; empty where there are more families than a query holds."""
    named = ",".join(line.public_id for line in proof.lines[:10])
    first = proof.receipt.first
    if first is None or len(proof.lines) > 10:
        return ""
    return f"family:{named} type:token.refused,token.reuse_detected position:>{first}"


def as_json(state: Action) -> dict[str, Any]:
    """For programs, as it stands in lists."""
    return {
        "action": ids.to_text(action.PREFIX, state.id),
        "kind": state.kind,
        "status": state.status,
        "actor": state.actor,
        "target": state.target or None,
        "reason": state.reason or None,
        "ticket": state.ticket or None,
        "started_at": telling.iso(state.started_at) if state.started_at else None,
        "finished_at": telling.iso(state.finished_at) if state.finished_at else None,
        "planned": state.planned,
        "ended": state.ended,
        "ended_already": state.spared,
        "began_since": state.added,
    }


def _as_json(proof: Proof) -> dict[str, Any]:
    receipt = proof.receipt
    if proof.key:
        told = as_json(receipt.action) | key_receipt.as_json(proof.key) | {"note": receipt.action.note or None}
        return told | _verifiers(proof)
    return (
        as_json(receipt.action)
        | (erasure_receipt.as_json(proof.erasure) if proof.erasure else {})
        | _verifiers(proof)
        | {
            "ended": receipt.ended,
            "first_position": receipt.first,
            "last_position": receipt.last,
            "refresh_refused": proof.refused,
            "access_usable_until": telling.iso(receipt.alive_until * telling.SECOND) if proof.alive else None,
            "denied_since": receipt.denied.times,
            "note": receipt.action.note or None,
            "query": receipt.action.query or None,
            "families": [
                {
                    "family": line.public_id,
                    "subject_name": line.name,
                    "refresh_refused": line.effect.refused,
                    "verdict": line.effect.verdict.value,
                    "access_usable_until": telling.iso(line.effect.access_until * telling.SECOND),
                }
                for line in proof.lines
            ],
        }
    )


def _verifiers(proof: Proof) -> dict[str, Any]:
    if proof.caught_up is None:
        return {"verifiers": None, "verifiers_behind": None}
    behind = [f"{one.client}: {one.name}" for one in proof.caught_up.behind]
    return {"verifiers": len(proof.caught_up.known), "verifiers_behind": behind}
