"""The command `session-ledger`: its verbs, and one sentence for whatever goes wrong. Each verb is in terminal/."""

from typing import Any

import click

from core import journal
from core.clients import BadPolicy
from core.geography import UnusableDatabase
from core.keys import KeyUnavailable
from core.start import StartError
from core.subjects import BadName, BadRoles, WeakPassword
from core.webhooks import BadWebhook
from events.checkpoints import Contradiction
from events.grants import NoRole
from events.migrate import NotOurs
from settings import VERSION, SettingsError
from terminal import (
    clients,
    demo,
    events,
    families,
    faults,
    keys,
    log,
    moving,
    schema,
    serve,
    subjects,
    users,
    webhooks,
)
from terminal.desk import Slow
from terminal.refusals import Failed, Refused

SENTENCES = (
    SettingsError,
    StartError,
    KeyUnavailable,
    Contradiction,
    NotOurs,
    NoRole,
    UnusableDatabase,
    BadName,
    BadPolicy,
    BadRoles,
    BadWebhook,
    WeakPassword,
    Slow,
)
"""Their text is a sentence for people already."""
COMMANDS = (
    serve.serve,
    schema.migrate_,
    moving.migrate_data,
    log.verify,
    log.rebuild,
    log.compact,
    log.recover,
    users.user,
    subjects.subject,
    clients.client,
    keys.keys,
    webhooks.webhook,
    families.revoke,
    events.events,
    demo.demo_,
)


class Commands(click.Group):
    """Makes one sentence of what goes wrong; nothing ends in a traceback, which may quote secrets."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SENTENCES as error:
            raise Refused(_ended(str(error))) from None
        except BrokenPipeError:
            raise
        except faults.KINDS as error:
            raise Refused(faults.sentence(error)) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - a message of its own may quote a value; kind and place do not
            told = journal.failure(error)
            raise Failed(f"This is a fault of session-ledger: {told['error']} at {told['frames'][-1]}.") from None


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


@click.group(
    cls=Commands,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: session-ledger migrate && session-ledger serve",
)
@click.version_option(VERSION, prog_name="session-ledger")
def main() -> None:
    """Sign users in, rotate their refresh tokens, notice stolen ones, and keep a ledger that can be proved.

    Settings come from the environment (LEDGER_...), see docs/configuration.md. Commands work beside a running
    service; only recover, demo and migrate-data want the ledger for themselves, and migrate if it has work to do.
    """


if __name__ == "__main__":
    main(prog_name="session-ledger")
