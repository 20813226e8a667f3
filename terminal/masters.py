"""The commands about the master keys: what stands under each, and the emergency brake. The rule: core/retirement.py."""

import asyncio
import secrets
import time
from typing import Final, NamedTuple

import click

from core.action import Confirmed
from core.actions import Actions
from core.master_revocation import Outcome
from core.policy import Policy
from core.reason import KEY_REASONS, TICKET, cleaned_note
from core.retirement import Line, Place, Retirement, lines
from events import action, ids
from events.actions import ActionReader
from events.decision import Origin
from events.families import FamilyReader, Reach
from terminal import line
from terminal.desk import ACTOR, Desk, at_desk
from terminal.prompts import bar
from terminal.refusals import Refused

HEAD: Final = "number  signs  known by  sessions  signing keys  secrets  may be taken away"


class Brake(NamedTuple):
    """What was asked for."""

    number: int | None
    reason: str
    ticket: str
    note: str
    sure: bool


class _Preview(NamedTuple):
    number: int
    reach: Reach
    position: int


@click.command("master", epilog="Example: session-ledger keys master")
def master() -> None:
    """The master keys: which one signs, what stands under each, and from when an old one may be taken away."""

    async def looked(at: Desk) -> tuple[Place, tuple[Line, ...]]:
        now = _now()
        families = FamilyReader(at.engine)
        place = await Retirement(at.ledger, at.engine, families).place(now)
        return place, lines(place, await families.standing(), await at.keys(), now)

    place, found = at_desk(looked)
    click.echo(HEAD)
    for one in found:
        signs = "yes" if one.signs else "revoked" if one.revoked else "no"
        counts = f"{one.known_by:>8}  {one.families:>8}  {one.signing_keys:>12}  {one.secrets:>7}"
        click.echo(f"{one.number:<6}  {signs:<7}{counts}  {_free(one)}")
    waiting = {one.numbers[0] for one in place.processes} - {place.signing.number}
    if waiting:
        click.echo(
            f"Master key {min(waiting)} does not sign yet: it does when all {len(place.processes)} processes have it "
            "in front."
        )


def brake(asked: Brake) -> None:
    """Preview, and with `--yes` do: every refresh token under a master key dies."""
    if asked.ticket and not TICKET.fullmatch(asked.ticket):
        raise Refused("A ticket has 1 to 32 letters, digits, dots, hyphens and underscores.")
    if asked.reason not in KEY_REASONS:
        raise Refused(f"Say why with --reason: {', '.join(sorted(KEY_REASONS))}.")
    click.echo(at_desk(lambda at: _braked(at, asked)))


async def _braked(at: Desk, asked: Brake) -> str:
    families = FamilyReader(at.engine)
    retirement = Retirement(at.ledger, at.engine, families)
    preview = await _previewed(at, retirement, asked)
    reach = preview.reach
    click.echo(
        f"Master key {preview.number}: {reach.families:,} sessions of {reach.subjects:,} users end, {reach.staff:,} of "
        "them at the dashboard. Access tokens are refused here as their sessions end, elsewhere when they expire.",
        err=True,
    )
    if not asked.sure:
        return "Nothing has changed. Do it with --yes."
    stream = ids.new_id(_now(), secrets.token_bytes(ids.RANDOM_BYTES))
    note = cleaned_note(asked.note)
    confirmed = Confirmed(stream, ACTOR, asked.reason, asked.ticket, note, preview.position)
    outcome = await retirement.revoke(confirmed, preview.number, reach.families, _now(), Origin())
    if outcome is Outcome.SIGNS:
        raise Refused(_signs(preview.number))
    if outcome is Outcome.UNCHANGED:
        raise Refused(f"Master key {preview.number} is revoked already: nothing under it is taken.")
    actions = Actions(at.ledger, ActionReader(at.engine), families, Policy(), _nothing_new)
    await _carried_out(actions, stream, reach.families)
    done = await actions.reader.effects(stream, 0, 0)
    receipt = ids.to_text(action.PREFIX, stream)
    return (
        f"Nothing under master key {preview.number} is taken any more; {done.ended:,} sessions ended. The receipt is "
        f"{receipt}, in the dashboard under Actions. Take the key away, and revoke the signing keys that it wrapped."
    )


async def _carried_out(actions: Actions, stream: bytes, families: int) -> None:
    """If we are stopped in here, a running service goes on with it, or the next one that is started."""
    with bar("ending sessions", families) as done:
        work = asyncio.create_task(actions.carry_out(stream))
        while not work.done():
            await asyncio.wait((work,), timeout=1)
            done((await actions.reader.effects(stream, 0, 0)).ended)
        work.result()


async def _previewed(at: Desk, retirement: Retirement, asked: Brake) -> _Preview:
    place = await retirement.place(_now())
    number = _chosen(place, asked.number)
    if number == place.signing.number or any(number == one.signs for one in place.processes):
        raise Refused(_signs(number))
    return _Preview(number, await retirement.reach_of(number), (await at.history.head()).size)


def _chosen(place: Place, number: int | None) -> int:
    """The one that is named, or the only one that it can be."""
    if number is not None:
        if number not in place.numbers:
            raise Refused(f"This ledger was never used with a master key {number}.")
        return number
    old = [one for one in place.numbers if one not in {place.signing.number, *place.revoked}]
    if not old:
        raise Refused(_signs(place.signing.number))
    if len(old) > 1:
        raise Refused(f"Say which master key leaked, with --number: {', '.join(map(str, old))}.")
    return old[0]


def _signs(number: int) -> str:
    return (
        f"Master key {number} signs: put a new one in front of it first, with a number of its own, and wait until "
        "session-ledger keys master says that it signs."
    )


def _free(one: Line) -> str:
    if one.signs:
        return "no: it signs"
    if one.free_at is None and one.signing_keys:
        return "not yet: a running service has to wrap its signing keys anew"
    if one.free_at is None:
        return (
            "not yet: secrets of webhooks or one-time codes are wrapped under it" if one.secrets else "no: signs next"
        )
    return "yes, now" if one.free_at <= _now() else f"from {line.moment(one.free_at)}"


async def _nothing_new(_query: str, _since: int, _limit: int) -> tuple[bytes, ...]:
    return ()


def _now() -> int:
    return time.time_ns() // 1000
