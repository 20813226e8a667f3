"""The command that fills an empty ledger with invented life. The story is core/demo.py."""

import asyncio
import time

import click

from core import checks, demo, demo_crowd, masters
from core.demo_cast import Size
from core.keys import KeyPolicy
from events import migrate
from events.stores import store_at
from settings import load
from terminal.prompts import bar


@click.command("demo", epilog="Example: session-ledger demo && session-ledger serve")
@click.option("--families", default=2_000, show_default=True, type=click.IntRange(50, 1_000_000), help="Sessions.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(7, 365), help="How long it went on.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Another one is another story.")
@click.option(
    "--bulk",
    type=click.IntRange(4, 100_000_000),
    metavar="SESSIONS",
    help="No story: so many sessions as fast as they can be written, two events each, to see how a large ledger feels. "
    "Ten million take about twenty minutes and 20 GB on PostgreSQL.",
)
def demo_(families: int, days: int, seed: int, bulk: int | None) -> None:
    """Fill an empty ledger with weeks of invented life, thefts included.

    For looking only: all accounts in it, staff too, have one password, which is shown at the end. About ten events for
    each session.
    """
    settings = load()
    ledger, folder = store_at(settings.database_url), settings.checkpoint_dir
    checks.writable(settings.data_dir, "LEDGER_DATA_DIR")
    checks.writable(folder, "LEDGER_CHECKPOINT_DIR")
    migrate.bring_up(ledger)
    with checks.sole_service(ledger), bar("living", bulk or days * 24) as done:
        demo.demand_empty(ledger, folder)
        master = masters.fitting(ledger, settings.data_dir, settings.master_key_source)
        key_policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)
        place = demo.Place(ledger, folder, master, settings.policy, key_policy)
        if bulk:
            filled = asyncio.run(demo_crowd.fill(place, bulk, time.time_ns() // 1000, done))
        else:
            filled = asyncio.run(demo.fill(place, Size(families, days, seed), time.time_ns() // 1000, done))
    if bulk:
        click.echo(f"{filled.events:,} events of {filled.people:,} people; {filled.living:,} sessions live.")
        click.echo(f"They are called person-0 and so on; the password of all of them is {filled.password}")
        click.echo("Use this ledger for looking only.")
        return
    click.echo(f"{filled.events:,} events of {filled.people:,} people in {days} days; {filled.living:,} sessions live.")
    click.echo("Sign in to the dashboard as admin, rosa (responder) or viktor (viewer), to applications as")
    click.echo(f"{filled.somebody}. The password of all of them is {filled.password}")
    click.echo("Use this ledger for looking only.")
