"""The command that takes accounts over from other software, from a file. What a hash may be says core/imported.py."""

import asyncio
import csv
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgspec

from core.subject import Outcome
from core.subjects import BadHash, BadName, New
from terminal.desk import ACTOR, Desk, at_desk
from terminal.prompts import bar
from terminal.refusals import Failed, Refused

AT_ONCE: Final = 200
"""Accounts that are committed together. What a crash stops is taken up by running the command again."""
MAX_TOLD: Final = 20
"""Lines that are named; the rest is counted."""


class Account(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the file."""

    username: str = ""
    password_hash: str = ""
    external_id: str = ""


class Line(NamedTuple):
    """One account of the file, or what is wrong with its line."""

    number: int
    account: Account | str


class Counts:
    """What became of the lines."""

    def __init__(self) -> None:
        self.created = self.skipped = self.wrong = 0

    def add(self, number: int, became: Outcome | str) -> None:
        if isinstance(became, str) and not isinstance(became, Outcome):
            self.wrong += 1
            if self.wrong <= MAX_TOLD:
                click.echo(f"Line {number}: {became}.", err=True)
        elif became is Outcome.DONE:
            self.created += 1
        else:
            self.skipped += 1


@click.command("import", epilog="Example: session-ledger user import users.csv --client shop")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--client", help="The application whose users these are; it alone sees their external ids.")
def import_(file: Path, client: str | None) -> None:
    """Create accounts with the password hashes that they have.

    FILE is CSV with the columns username, password_hash, external_id (any of them may be missing), or NDJSON with
    members of these names. Hashes are argon2, bcrypt or scrypt, and become ours when their user signs in. Names that
    there are already are skipped, so a second run goes on where the first one stopped.
    """
    counts = at_desk(lambda at: _imported(at, file, client))
    told = f"Created {counts.created}, skipped {counts.skipped} that there are already"
    if counts.wrong:
        raise Failed(f"{told}; {counts.wrong} lines are not right and were left out.")
    click.echo(f"{told}.")


async def _imported(at: Desk, file: Path, client: str | None) -> Counts:
    if client is not None and not any(one.client == client for one in await at.clients()):
        raise Refused(f"There is no client {client}.")
    counts, read = Counts(), _Bytes()
    with file.open("rb") as raw, bar("importing", os.fstat(raw.fileno()).st_size) as done:
        lines = _lines(file, read.counted(raw))
        while batch := list(islice(lines, AT_ONCE)):
            became = await asyncio.gather(*(_create(at, one, client) for one in batch))
            for line, outcome in zip(batch, became, strict=True):
                counts.add(line.number, outcome)
            done(read.number)
    return counts


async def _create(at: Desk, line: Line, client: str | None) -> Outcome | str:
    account = line.account
    if isinstance(account, str):
        return account
    if account.external_id and client is None:
        return "an external_id says little without --client"
    if not account.username and not account.external_id:
        return "it has neither a username nor an external_id"
    new = New(ACTOR, account.username, "", account.password_hash, client or "", account.external_id)
    try:
        return (await at.subjects.create(new)).outcome
    except (BadName, BadHash) as wrong:
        return str(wrong)


class _Bytes:
    """How much of the file was read."""

    def __init__(self) -> None:
        self.number = 0

    def counted(self, raw: Iterable[bytes]) -> Iterator[str]:
        for line in raw:
            self.number += len(line)
            yield line.decode("utf-8-sig" if self.number == len(line) else "utf-8", "surrogateescape")


def _lines(file: Path, text: Iterator[str]) -> Iterator[Line]:
    return _of_json(text) if file.suffix in {".ndjson", ".jsonl", ".json"} else _of_csv(text)


def _of_json(text: Iterator[str]) -> Iterator[Line]:
    for number, line in enumerate(text, 1):
        if line.strip():
            try:
                yield Line(number, msgspec.json.decode(line.encode("utf-8", "surrogateescape"), type=Account))
            except (msgspec.DecodeError, UnicodeError):
                yield Line(number, "it is no JSON object of username, password_hash, external_id")


def _of_csv(text: Iterator[str]) -> Iterator[Line]:
    rows = csv.DictReader(text, strict=True)
    try:
        unknown = set(rows.fieldnames or ()) - set(Account.__struct_fields__)
        if unknown or not rows.fieldnames:
            raise Refused("The first line of a CSV file names its columns: username, password_hash, external_id.")
        for row in rows:
            if None in row or None in row.values():
                yield Line(rows.line_num, "it has another number of columns than the first line")
            else:
                yield Line(rows.line_num, Account(**row))
    except csv.Error:
        raise Refused(f"Line {rows.line_num + 1} is not CSV: put it right and run the command again.") from None
