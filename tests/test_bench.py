"""The bench runs: every application answers its load, every log is read again. How fast is not asked here."""

import asyncio
from pathlib import Path

import pytest

from bench import client, figures, offline
from bench.client import WrongAnswer
from bench.offline import Alone
from bench.process import cores
from bench.refreshes import KINDS, Applications


async def test_every_application_rotates_every_chain(tmp_path: Path) -> None:
    with Applications(tmp_path, cores()[0]) as applications:
        found = await applications.rounds(KINDS, 4, 0.05, 1)
    answered = {kind: len(runs[0].load.latencies) for kind, runs in found.items()}
    assert [] == [kind for kind, answers in answered.items() if answers < 4]
    assert found["ledger"][0].commands == answered["ledger"]


def test_a_ledger_alone_commits_once_for_each_batch_and_its_log_is_read_again(tmp_path: Path) -> None:
    with Alone(tmp_path, cores()[0], 300, 3) as ledger:
        done = ledger.rotate(600)
        rows = ledger.row(10), ledger.row(300)
    events = 100 + 300 + 600 + 310
    read = {what: offline.read_again(tmp_path, cores()[0], what)["events"] for what in ("loop", "verify", "rebuild")}
    assert (done.batches, rows[0]) == (done.commits, rows[1])
    assert dict.fromkeys(read, events + 3) == read, "beside these: the log's beginning and the two clients"


async def test_an_answer_that_does_not_go_on_ends_the_run() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        chain = client.Chain(b"slr_" + b"A" * 92)
        await client.connect(server.sockets[0].getsockname()[1], chain)
        with pytest.raises(WrongAnswer, match="401"):
            await client.drive([chain], 1)


def test_ratios_are_of_neighbours() -> None:
    assert figures.Spread(2.0, 1.0, 3.0) == figures.ratios([10.0, 4.0, 9.0], [10.0, 2.0, 3.0])
    assert "2.00 (1.00 to 3.00)" == figures.Spread(2.0, 1.0, 3.0).told()
