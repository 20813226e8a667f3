"""The commands about webhooks: whom the service tells of events. The running service sends; see docs/webhooks.md."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click
import msgspec

from core import secevent
from core.webhook import Outcome, Plan
from core.webhooks import DAY, Made, Webhooks
from events import deliveries, ids
from events.deliveries import Delivery, DeliveryReader, Tally
from events.webhook import ALL, PREFIX, SET, STANDARD, Webhook
from settings import load
from terminal import line
from terminal.desk import ACTOR, Desk, at_desk
from terminal.prompts import nothing
from terminal.refusals import Failed, Refused

PING_SECONDS: Final = 30
T = TypeVar("T")
Work = Callable[[Webhooks, DeliveryReader], Awaitable[T]]


@click.group(epilog="Example: session-ledger webhook add https://app.example.com/hooks --filter type:family.revoked")
def webhook() -> None:
    """Receivers that are told of events."""


@webhook.command(
    "add", epilog="Example: session-ledger webhook add https://app.example.com/hooks --filter type:token.*"
)
@click.argument("url")
@click.option("--filter", "query", default="", help="Which events, as in docs/filters.md; all unless given.")
@click.option("--client", "owner", default="", help="Only events of this application, which may manage it, too.")
@click.option("--format", "format_", type=click.Choice((STANDARD, SET)), default=STANDARD, show_default=True)
@click.option("--signal", "signals", multiple=True, type=click.Choice(tuple(secevent.URIS)), help="Of set: which.")
def add(url: str, query: str, owner: str, format_: str, signals: tuple[str, ...]) -> None:
    """Send events to URL from now on."""
    kinds = " ".join(signals or (secevent.URIS if format_ == SET else ()))
    plan = Plan(format_, url=url, query=query, signals=kinds)

    async def registered(at: Desk) -> Made:
        if owner and owner not in {one.client for one in await at.clients()}:
            raise Refused(f"There is no client {owner}.")
        return await at.webhooks(load()).register(owner, ACTOR, plan)

    made = at_desk(registered)
    click.echo(f"Registered {_name(made.webhook)}.")
    _tell(made.secret)


@webhook.command("list", epilog="Example: session-ledger webhook list")
def listed() -> None:
    """All webhooks: id, status, what waits, what is dead, where to."""

    async def found(at: Webhooks, sent: DeliveryReader) -> tuple[list[Webhook], dict[bytes, Tally]]:
        return await at.all(), await sent.tallies()

    states, tallies = _at(found)
    nothing(states, "There is no webhook yet: session-ledger webhook add URL makes one.")
    for one in states:
        tally = tallies.get(one.id, Tally())
        counts = f"{tally.waiting} waiting  {tally.dead} dead"
        click.echo(f"{_name(one.id)}  {one.status:<8}  {counts:<22}  {one.format}  {one.url or one.method}")


@webhook.command("show", epilog="Example: session-ledger webhook show whk_… --json")
@click.argument("name", metavar="WEBHOOK")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(name: str, *, as_json: bool) -> None:
    """One webhook, how far it has come, and its last deliveries."""

    async def found(at: Webhooks, sent: DeliveryReader) -> tuple[Webhook, dict[str, Any], list[Delivery]]:
        state = await _named(at, name)
        cursor = (await sent.cursors()).get(state.id)
        last = [one for status in deliveries.STATUSES for one in await sent.of(state.id, status, 10)]
        return state, _told(state) | {"position": cursor.position if cursor else None}, last

    _, told, last = _at(found)
    if as_json:
        click.echo(msgspec.json.encode(told | {"deliveries": [_row(one) for one in last]}).decode())
        return
    for field, value in told.items():
        click.echo(f"{field:<14}  {'' if value is None else value}".rstrip())
    for one in sorted(last, key=lambda one: one.position):
        click.echo(_line(one))


@webhook.command("rotate-secret", epilog="Example: session-ledger webhook rotate-secret whk_… --keep 3600")
@click.argument("name", metavar="WEBHOOK")
@click.option("--keep", default=DAY, show_default=True, type=int, help="Seconds for which the one before signs, too.")
def rotate_secret(name: str, keep: int) -> None:
    """Make another secret, which is shown this once. After a leak, use --keep 0."""

    async def rotated(at: Webhooks, _sent: DeliveryReader) -> Made:
        return await at.rotate_secret(await _named(at, name), ACTOR, keep)

    _tell(_at(rotated).secret)


@webhook.command("enable", epilog="Example: session-ledger webhook enable whk_…")
@click.argument("name", metavar="WEBHOOK")
def enable(name: str) -> None:
    """Send again, from where it stopped."""
    _do(name, lambda at, stream: at.enable(stream, ACTOR))
    click.echo(f"{name} is enabled.")


@webhook.command("disable", epilog="Example: session-ledger webhook disable whk_…")
@click.argument("name", metavar="WEBHOOK")
def disable(name: str) -> None:
    """Send nothing. What happens meanwhile waits in the log."""
    _do(name, lambda at, stream: at.disable(stream, ACTOR, "staff"))
    click.echo(f"{name} is disabled.")


@webhook.command("remove", epilog="Example: session-ledger webhook remove whk_…")
@click.argument("name", metavar="WEBHOOK")
def remove(name: str) -> None:
    """End it for good."""
    _do(name, lambda at, stream: at.remove(stream, ACTOR))
    click.echo(f"{name} is removed.")


@webhook.command("dead", epilog="Example: session-ledger webhook dead whk_…")
@click.argument("name", metavar="WEBHOOK")
def dead(name: str) -> None:
    """Events that were given up: position, when, how often tried, why."""

    async def found(at: Webhooks, sent: DeliveryReader) -> list[Delivery]:
        return await sent.of((await _named(at, name)).id, deliveries.DEAD, 1000)

    letters = _at(found)
    nothing(letters, "No event was given up.")
    for one in letters:
        click.echo(_line(one))


@webhook.command("replay", epilog="Example: session-ledger webhook replay whk_… 48213")
@click.argument("name", metavar="WEBHOOK")
@click.argument("position", type=int, required=False)
def replay(name: str, position: int | None) -> None:
    """Try a dead letter again, or all of them."""

    async def replayed(at: Webhooks, sent: DeliveryReader) -> None:
        state = await _named(at, name)
        found = await sent.of(state.id, deliveries.DEAD, deliveries.KEPT[deliveries.DEAD])
        if not any(position in {None, one.position} for one in found):
            raise Refused("There is no such dead letter.")
        await at.replay(state.id, ACTOR, ALL if position is None else position)

    _at(replayed)
    click.echo("A running service tries again.")


@webhook.command("ping", epilog="Example: session-ledger webhook ping whk_…")
@click.argument("name", metavar="WEBHOOK")
def ping(name: str) -> None:
    """Send a test by the running service, and wait for what the receiver says."""

    async def pinged(at: Desk) -> Delivery | None:
        hooks, until = at.webhooks(load()), time.monotonic() + PING_SECONDS
        state = await _named(hooks, name)
        await hooks.ping(state.id, ACTOR)
        position = (await at.history.tail_of_stream(state.id, 1))[-1].position
        while time.monotonic() < until:
            found = await at.deliveries.at(state.id, position)
            if found is not None and found.tries:
                return found
            await asyncio.sleep(0.2)
        return None

    found = at_desk(pinged)
    if found is None:
        raise Failed(f"Nothing was sent within {PING_SECONDS} seconds: is the service running, and is it enabled?")
    if found.status != deliveries.DELIVERED:
        raise Failed(f"The receiver did not take it: {found.reason.replace('_', ' ')}. It is tried again.")
    click.echo(f"Delivered as #{found.position}: {found.answer}.")


def _at(work: Work[T]) -> T:
    return at_desk(lambda at: work(at.webhooks(load()), at.deliveries))


def _do(name: str, work: Callable[[Webhooks, bytes], Awaitable[Outcome]]) -> None:
    async def done(at: Webhooks, _sent: DeliveryReader) -> None:
        await work(at, (await _named(at, name)).id)

    _at(done)


async def _named(at: Webhooks, name: str) -> Webhook:
    stream = ids.from_text(PREFIX, name)
    state = await at.get(stream) if stream else None
    if state is None:
        raise Refused(f"There is no webhook {name}: session-ledger webhook list names them.")
    return state


def _told(state: Webhook) -> dict[str, Any]:
    """Without its secrets, wrapped or not."""
    return {
        "webhook": _name(state.id),
        "status": state.status,
        "reason": state.reason,
        "format": state.format,
        "method": state.method,
        "url": state.url,
        "filter": state.query,
        "signals": state.signals,
        "client": state.client,
        "registered_at": line.moment(state.registered_at),
        "secret_at": line.moment(state.secret_at) if state.secret_at else "",
        "secret_before_until": line.moment(state.before_until) if state.before_until else "",
    }


def _row(one: Delivery) -> dict[str, Any]:
    told = {"position": one.position, "status": one.status, "tries": one.tries, "reason": one.reason}
    times = {name: line.moment(at) if at else None for name, at in (("at", one.at), ("due", one.due))}
    return told | {"answer": one.answer or None} | times


def _line(one: Delivery) -> str:
    when = line.moment(one.at) if one.at else "not tried yet"
    came = one.reason.replace("_", " ") or (str(one.answer) if one.answer else "")
    again = f"again at {line.moment(one.due)}" if one.status == deliveries.WAITING and one.due else ""
    parts = (f"#{one.position:<8}", f"{one.status:<9}", when, f"{one.tries} tries", came, again)
    return "  ".join(part for part in parts if part)


def _name(stream: bytes) -> str:
    return ids.to_text(PREFIX, stream)


def _tell(made: str) -> None:
    """To standard output, so that a script can keep it; it is nowhere else."""
    if made:
        click.echo(f"Its secret, shown this once: {made}")
