"""The bench runs: every application answers its load, every log is read again. How fast is not asked here."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import client, figures, gateway, offline, pages, parts, processor, report_asking, report_size, size, verifier
from bench.client import WrongAnswer
from bench.offline import Alone
from bench.pages import Page
from bench.process import cores
from bench.refreshes import KINDS, Applications
from bench.report_asking import CONNECTIONS, Asked
from bench.sides import OURS, PEER_PYTHON, PEERS, Sides
from core.master import generate
from tests import clusters
from tests.clusters import Cluster

PARENT = """
import subprocess, sys
busy = "sum(range(5 * 10**7)); print(flush=True); input()"
subprocess.run([sys.executable, "-c", busy])
"""


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


async def test_every_application_and_both_peers_rotate_every_chain_on_postgresql(tmp_path: Path) -> None:
    clusters.needed()
    peers = PEERS if PEER_PYTHON.exists() else ()
    with Cluster() as cluster, Sides(cluster, tmp_path, (*OURS, *peers), processor.places()) as sides:
        found = await sides.rounds((*OURS, *peers), 4, 0.3, 1)
    assert [] == [kind for kind, (cost,) in found.items() if cost.answers < 4]
    for kind in ("ledger", "two"):
        (cost,) = found[kind]
        assert cost.commands == cost.answers
        assert 0 < cost.locked < 2 * cost.load.seconds
        assert cost.service + cost.database > 0


async def test_refreshes_on_a_small_and_a_large_ledger_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters.needed()
    key, kept = generate(os.urandom(32)), os.sched_getaffinity(0)
    with Cluster(settings=size.SERVER | {"shared_buffers": "64MB"}) as cluster:
        cluster.psql("CREATE EXTENSION pg_stat_statements")
        ledgers = [await asyncio.to_thread(size.written, cluster, key, name, n) for name, n in (("a", 100), ("b", 200))]
        found = await size.measured(cluster, key, ledgers, 0.3, 1)
    os.sched_setaffinity(0, kept)
    assert [100, 200] == [one.families for one in found.filled]
    assert [200, 400] == pytest.approx([one.events for one in found.filled], abs=10), (
        "and what every ledger begins with"
    )
    assert 0 < found.ratio.median
    for one in found.buffers:
        assert any("INSERT INTO events" in query for query in one.each)
        assert 20 < one.total < 100
    assert "# Size" in report_size.part(found)


async def test_asking_about_tokens_is_compared_with_and_without_reading(tmp_path: Path) -> None:
    routes = await gateway.compared(tmp_path, cores()[0], CONNECTIONS, rounds=1, seconds=0.1)
    decodes = {name: verifier.decodes(name, 3, 20) for name in verifier.KEYS}
    found = Asked([], routes, decodes)

    assert {(route, at) for route in ("/v1/verify", "/oauth/introspect") for at in CONNECTIONS} == set(routes)
    assert all(cost.rate > 0 and cost.each > 0 for (pair,) in routes.values() for cost in pair)
    assert 6 == len(report_asking.targets(found)) == report_asking.part(found).count("\N{GREATER-THAN OR EQUAL TO} 0.")


def test_a_part_of_the_page_is_replaced_and_the_others_stay() -> None:
    page = parts.replaced(parts.replaced("", "postgres", "# Two\n"), "sqlite", "# One\n")
    assert "<!-- sqlite -->\n# One\n<!-- end -->\n\n<!-- postgres -->\n# Two\n<!-- end -->\n" == page
    assert page.replace("Two", "Three") == parts.replaced(page, "postgres", "# Three\n")


def test_what_a_process_and_its_children_use_is_seen_from_outside() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert (2, True) == (len(processor.tree(parent.pid)), processor.seconds([parent.pid]) > 0.2)
        parent.communicate()


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


def test_a_slow_page_is_told_and_no_id_of_a_session_stays_in_the_table() -> None:
    quick = Page(f"/dashboard/families/fam_{'a' * 26}", 10.0, 99.9, 64.0, 200)
    slow, broken = quick._replace(path="/dashboard", p95=50.0), quick._replace(path="/dashboard/keys", status=500)
    told = pages.part("PostgreSQL", 7, [quick, slow, broken]).splitlines()[-3:]

    assert told == [
        "| `/dashboard/families/fam_…` | 10.0 | 99.9 | 64.0 | met |",
        "| `/dashboard` | 10.0 | 50.0 | 64.0 | **not met** (200) |",
        "| `/dashboard/keys` | 10.0 | 99.9 | 64.0 | **not met** (500) |",
    ]
