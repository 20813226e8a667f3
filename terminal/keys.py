"""The commands about the keys that sign access tokens. The ring itself is core/keys.py."""

import time
from typing import Any

import click

from core import masters
from core.key import Verdict
from core.keys import KeyPolicy, Keys
from core.master import MAX_NUMBER
from events.stores import store_at
from settings import load
from terminal import line
from terminal import masters as terminal_masters
from terminal.desk import ACTOR, Desk, at_desk
from terminal.masters import Brake
from terminal.prompts import nothing
from terminal.refusals import Refused


@click.group(epilog="Example: session-ledger keys list")
def keys() -> None:
    """The keys that sign access tokens, and the master keys."""


keys.add_command(terminal_masters.master)


@keys.command("list", epilog="Example: session-ledger keys list")
def listed() -> None:
    """All keys, the oldest first: id, status, algorithm, since when."""
    found = at_desk(lambda at: at.keys())
    nothing(found, "There is no key yet: the service makes the first ones when it starts.")
    for one in found:
        since = one.retire_at or one.activated_at or one.created_at
        click.echo(f"{one.key}  {one.status:<8}  {one.algorithm:<6}  {line.moment(since)}")


@keys.command("rotate", epilog="Example: session-ledger keys rotate")
@click.option("--force", is_flag=True, help="Even if the next key was published only a moment ago.")
@click.option(
    "--refresh", is_flag=True, help="The emergency brake: with --now, refuse all refresh tokens of a master key."
)
@click.option("--now", is_flag=True, help="With --refresh: those sessions end at once.")
@click.option("--number", type=click.IntRange(1, MAX_NUMBER), help="Of the master key that leaked.")
@click.option("--reason", default="compromised", show_default=True, help="Why, as the log keeps it.")
@click.option("--ticket", default="", help="Number of the incident.")
@click.option("--note", default="", help="For people; can be deleted.")
@click.option("--yes", is_flag=True, help="Do it; without, the brake only tells whom it would hit.")
def rotate(**asked: Any) -> None:
    """Let the published next key sign, and publish another. Needs the master key. A running service follows.

    With --refresh --now, the emergency brake for a master key that leaked: a newer one must sign already. Everybody
    whose session stands under the old one is signed out.
    """
    if asked["refresh"] != asked["now"]:
        raise Refused(
            "Sessions move to a new master key by themselves; --refresh --now together end those that have not."
        )
    if asked["refresh"]:
        terminal_masters.brake(
            Brake(asked["number"], asked["reason"], asked["ticket"], asked["note"], sure=asked["yes"])
        )
        return
    settings = load()
    policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)

    async def rotated(at: Desk) -> Verdict:
        store = store_at(settings.database_url)
        master = masters.fitting(store, settings.data_dir, settings.master_key_source)
        ring = Keys(at.ledger, at.keys, master, policy, lambda: time.time_ns() // 1000)
        await ring.load()
        return await ring.rotate(ACTOR, force=asked["force"])

    if at_desk(rotated) is Verdict.EARLY:
        raise Refused("The next key was published a short time ago and is not known everywhere: wait, or use --force.")
    click.echo("Another key signs now; the one before verifies until its last token has expired.")
