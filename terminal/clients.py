"""The commands about the applications that use the API. What a policy may be says core/application.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from core import client_assertion
from core.application import REACTIONS
from core.client import Outcome
from core.clients import DAY
from events.client import CONFIDENTIAL, OPTIONAL, POLICY, PUBLIC, REQUIRED, Client, ClientRegistered
from settings import load
from terminal import line
from terminal.desk import ACTOR, at_desk
from terminal.prompts import nothing
from terminal.refusals import Refused

LISTS = {"origin": "origins", "audience": "audiences", "scope": "scopes"}
"""Options that come more than once, and the field that each is a part of."""
SWITCHES = frozenset({"first_party", "operator", "keys_only"})
UNSET = {"access_ttl": 0, "idle_ttl": 0, "absolute_ttl": 0, "leeway": -1, "audiences": ""}
"""What follows the settings where it has this value."""
SHOWN = ("client", "status", *POLICY)
OPTIONS = (
    click.option("--origin", multiple=True, help="Of its pages on the same site, like https://app.example.com."),
    click.option("--audience", multiple=True, help="Whom its access tokens may be for; the first one by default."),
    click.option("--scope", multiple=True, help="What its access tokens may be used for."),
    click.option("--access-ttl", type=int, help="Seconds an access token lives; 0 follows the settings."),
    click.option("--idle-ttl", type=int, help="Seconds a session lives unused; 0 follows the settings."),
    click.option("--absolute-ttl", type=int, help="Seconds a session lives at most; 0 follows the settings."),
    click.option("--leeway", type=int, help="Seconds for an honest retry; -1 follows the settings, 0 is strict."),
    click.option("--family-limit", type=int, help="Living sessions for each user; 0 is no limit of its own."),
    click.option("--on-device-change", type=click.Choice(REACTIONS), help="When a session comes from another device."),
    click.option("--on-network-change", type=click.Choice(REACTIONS), help="When it comes from another network."),
    click.option("--on-country-change", type=click.Choice(REACTIONS), help="When it comes from another country."),
    click.option("--first-party/--third-party", default=None, help="Whether people may give it their password."),
    click.option("--dpop", type=click.Choice((OPTIONAL, REQUIRED)), help="Whether its tokens are bound to a key."),
    click.option("--keys", type=click.Path(), help="A file with its public keys, a JWK set; `none` takes them away."),
    click.option("--keys-only/--keys-or-secret", default=None, help="Whether its secrets no longer count."),
    click.option("--operator/--no-operator", default=None, help="Whether it reaches the sessions of all clients."),
)


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """What `add` and `update` take alike."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.group(epilog="Example: session-ledger client add web --origin https://app.example.com")
def client() -> None:
    """Applications that use the API."""


@client.command("add", epilog="Example: session-ledger client add backend --confidential --scope introspect")
@click.argument("name")
@click.option("--confidential", is_flag=True, help="It runs on a server and gets a secret, which is shown once.")
@policy_options
def add(name: str, *, confidential: bool, **given: Any) -> None:
    """Register an application."""
    kind = CONFIDENTIAL if confidential else PUBLIC
    fact = ClientRegistered(actor=ACTOR, client=name, type=kind, **_policy(given))
    made = at_desk(lambda at: at.applications.register(fact))
    if made.outcome is not Outcome.DONE:
        raise Refused(f"There is a client {name} already.")
    click.echo(f"Registered {name}.")
    _tell(made.secret)


@client.command("list", epilog="Example: session-ledger client list")
def listed() -> None:
    """All clients: name, status, type, what sets them apart."""
    found = at_desk(lambda at: at.clients())
    nothing(found, "There is no client yet: the service makes the first ones when it starts.")
    for one in found:
        marks = " ".join(filter(None, ("operator" if one.operator else "", one.scopes)))
        click.echo(f"{one.client:<24}  {one.status:<8}  {one.type:<12}  {marks}".rstrip())


@client.command("show", epilog="Example: session-ledger client show web --json")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(name: str, *, as_json: bool) -> None:
    """One client with its policy, and what of it follows the settings.

    With --json 0, and -1 for the leeway, stand for what follows them.
    """
    state = _named(name)
    told = {field: getattr(state, field) for field in SHOWN} | {"registered_at": line.moment(state.registered_at)}
    if state.secret:
        told["secret_at"] = line.moment(state.secret_at)
        told["secret_before_until"] = line.moment(state.before_until) if state.before_until else ""
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
        return
    for field, value in told.items():
        click.echo(f"{field:<20}  {_worded(field, value)}".rstrip())


@client.command("update", epilog="Example: session-ledger client update web --origin https://app.example.com")
@click.argument("name")
@policy_options
def update(name: str, **given: Any) -> None:
    """Change what is given of a client's policy.

    A list is replaced as a whole; `none` empties it. What begins from now on follows, and so do sessions that live
    where the new limit is the earlier one.
    """
    changes = _policy(given)
    _check(name, at_desk(lambda at: at.applications.update(name, ACTOR, changes)))
    click.echo(f"The policy of {name} is as you said.")


@client.command("secret", epilog="Example: session-ledger client secret backend --keep 3600")
@click.argument("name")
@click.option("--keep", default=DAY, show_default=True, type=int, help="Seconds for which the one before is good.")
def secret(name: str, keep: int) -> None:
    """Give a client another secret, which is shown this once.

    At most two are good at a time. After a leak, use --keep 0.
    """
    made = at_desk(lambda at: at.applications.rotate_secret(name, ACTOR, keep))
    if made.outcome is Outcome.PUBLIC:
        raise Refused(f"{name} is a public client: it has no secret.")
    _check(name, made.outcome)
    _tell(made.secret)


@client.command("disable", epilog="Example: session-ledger client disable web")
@click.argument("name")
def disable(name: str) -> None:
    """Refuse sign-in, refresh and tokens for NAME."""
    _set(name, enabled=False)


@client.command("enable", epilog="Example: session-ledger client enable web")
@click.argument("name")
def enable(name: str) -> None:
    """Let NAME work again."""
    _set(name, enabled=True)


def _set(name: str, *, enabled: bool) -> None:
    _check(name, at_desk(lambda at: at.applications.set_enabled(name, ACTOR, enabled=enabled)))
    click.echo(f"{name} is {'enabled' if enabled else 'disabled'}.")


def _policy(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the fields of a policy."""
    found: dict[str, Any] = {}
    for option, value in given.items():
        if option in LISTS and value:
            found[LISTS[option]] = "" if value == ("none",) else " ".join(value)
        elif option == "keys" and value is not None:
            found[option] = "" if value == "none" else client_assertion.stored(_text(value))
        elif option not in LISTS and value is not None:
            found[option] = int(value) if isinstance(value, bool) else value
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError):
        raise Refused(f"{path} cannot be read as text.") from None


def _worded(field: str, value: Any) -> str:
    """As people read it: what follows the settings with the value that they give, and switches as yes or no."""
    if field in SWITCHES:
        return "yes" if value else "no"
    if field in UNSET and value == UNSET[field]:
        given = load()
        inherited = given.audience if field == "audiences" else f"{getattr(given.policy, field):.15g}"
        return f"{inherited}, as in the settings"
    if field == "family_limit" and not value:
        return "none of its own"
    return str(value) or "none"


def _named(name: str) -> Client:
    found = next((one for one in at_desk(lambda at: at.clients()) if one.client == name), None)
    if found is None:
        raise Refused(f"There is no client {name}.")
    return found


def _check(name: str, outcome: Outcome) -> None:
    if outcome is Outcome.UNKNOWN:
        raise Refused(f"There is no client {name}.")


def _tell(made: str) -> None:
    """To standard output, so that a script can keep it; it is nowhere else."""
    if made:
        click.echo(f"Its secret, shown this once: {made}")
