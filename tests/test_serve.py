"""The service as a process: first start, the end under load, what is printed, numbers on a port of their own.

Only a file can be gone, and be made again by opening it.
"""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from core import serving
from core.metrics import Metrics
from events.sqlite_store import SqliteStore
from events.store import Store
from tests.chains import holders
from tests.conftest import MASTER_KEY, PASSWORD
from tests.processes import PATIENCE, Place, Terminal

ROOT = Path(__file__).parent.parent


@pytest.fixture
def place(tmp_path: Path, store: Store) -> Place:
    return Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)


def generations(place: Place) -> dict[str, int]:
    """Of each family, counted from the events by the command line."""
    told = [json.loads(line) for line in place.done("events", "--json", "--limit", "100000").splitlines()]
    found: dict[str, int] = {}
    for one in told:
        if one["type"] in {"token.issued", "token.rotated"}:
            found[one["stream"]] = one["body"].get("generation", 1)
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_under_load_is_quick_and_loses_no_acknowledged_rotation(place: Place, how: signal.Signals) -> None:
    with place.serving() as child:
        async with holders(place) as clients:
            going = [asyncio.create_task(one.go_on()) for one in clients]
            await asyncio.sleep(1.5)
            began = time.monotonic()
            child.signal(how)
            ended = await asyncio.to_thread(child.ended)
            took = time.monotonic() - began
            await asyncio.gather(*going)

    assert (0, []) == (ended.status, [text for one in clients for text in one.refused])
    assert took < 5
    assert all(one.generation > 3 for one in clients)
    stored = generations(place)
    # A last rotation may be stored although its answer was lost with the connection; none that was answered is missing.
    assert [] == [one.family for one in clients if stored[one.family] - one.generation not in {0, 1}]
    assert "fit" in place.done("verify")


async def test_sessions_go_on_after_a_restart(place: Place) -> None:
    with place.serving():
        async with holders(place, 1) as (one,):
            assert await one.rotate()
    with place.serving():
        async with httpx.AsyncClient(base_url=place.url, trust_env=False) as http:
            one.http = http
            assert await one.rotate()


def test_connections_that_hang_do_not_hold_the_end(place: Place) -> None:
    with place.serving() as child, closing(socket.create_connection(("127.0.0.1", place.port))) as silent:
        with closing(socket.create_connection(("127.0.0.1", place.port))) as halfway:
            halfway.sendall(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            halfway.sendall(b"Content-Length: 900\r\n\r\n{")
            time.sleep(0.1)
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            ended = child.ended()
            assert time.monotonic() - began < 5
        assert silent.recv(10) == b""
    assert ended.status == 0
    assert "Traceback" not in ended.err + ended.out


def test_a_request_under_way_is_answered_before_the_end(place: Place) -> None:
    with place.serving() as child, closing(socket.create_connection(("127.0.0.1", place.port))) as connection:
        body = json.dumps({"username": "admin", "password": PASSWORD, "mode": "body"}).encode()
        head = f"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body[:10])
        time.sleep(0.2)
        child.signal(signal.SIGTERM)
        time.sleep(0.2)
        connection.sendall(body[10:])
        connection.settimeout(PATIENCE)
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
        assert child.ended().status == 0


def test_a_first_start_without_a_terminal_leaves_the_password_in_a_file_that_its_first_use_deletes(
    place: Place,
) -> None:
    file = place.data / "admin-password"
    own = {"LEDGER_MASTER_KEY": None} if isinstance(place.store, SqliteStore) else {}
    with place.serving(LEDGER_ADMIN_PASSWORD=None, **own) as child:
        password = file.read_text().strip()
        assert 0o600 == file.stat().st_mode & 0o777
        assert {0o600} == {key.stat().st_mode & 0o777 for key in place.data.glob("master-key")} or not own
        assert str(file) in child.err
        assert 401 == place.sign_in("admin", "not-" + password)
        assert file.exists()
        assert 200 == place.sign_in("admin", password)
        assert not file.exists()
        child.signal(signal.SIGTERM)
        ended = child.ended()
    assert password not in ended.out + ended.err


def test_a_log_that_programs_read_is_lines_of_json(place: Place) -> None:
    with place.serving() as child:
        httpx.get(f"{place.url}/.well-known/jwks.json?x=secret", trust_env=False)
        child.signal(signal.SIGTERM)
        ended = child.ended()
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert ["/.well-known/jwks.json"] == [one["route"] for one in lines if one["event"] == "request"]
    assert "secret" not in ended.out
    assert place.url.removeprefix("http://") in ended.err
    assert (str(place.data) if isinstance(place.store, SqliteStore) else place.store.place) in ended.err
    assert "SIGTERM" in ended.err


def test_a_terminal_sees_the_first_password_once_and_ctrl_c_ends_the_service(tmp_path: Path) -> None:
    """`python -m cli` on a terminal of its own, as a person starts it."""
    place = Place(tmp_path)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LEDGER_PORT": str(place.port),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "cli"]
    subprocess.run([*command, "migrate"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    terminal = Terminal()
    with terminal.name.open("r+b", buffering=0) as screen:
        process = subprocess.Popen(
            [*command, "serve"],
            cwd=tmp_path,
            env=environment,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            process_group=0,
        )
    shown = terminal.shows("Stop with Ctrl-C.")
    found = re.search(r"password (\S{24}) ", shown)
    assert found, shown
    assert not (place.data / "admin-password").exists()
    assert 200 == place.sign_in("admin", found[1])
    os.killpg(process.pid, signal.SIGINT)
    assert 0 == process.wait(PATIENCE)
    terminal.close()


async def test_numbers_are_on_a_port_of_their_own_and_name_nobody(place: Place) -> None:
    other = Place(place.folder).port
    with place.serving(LEDGER_METRICS_PORT=str(other)):
        async with holders(place, 2) as clients:
            for one in clients:
                await one.rotate()
            http = clients[0].http
            await http.post("/auth/refresh", json={"refresh_token": "slr_" + "A" * 92})
            await http.post("/auth/login", json={"username": "nobody-77", "password": PASSWORD, "mode": "body"})
            await http.get("/no/such/page")
            assert 404 == (await http.get("/metrics")).status_code
            told = (await http.get(f"http://127.0.0.1:{other}/metrics")).text

    kinds = {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE session_ledger")}
    described = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert set() == {name for name in kinds if not name.endswith("_created") and f"`{name}`" not in described}
    numbers = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    assert "2.0" == numbers['session_ledger_verdicts_total{route="/auth/login",verdict="begun"}']
    assert "2.0" == numbers['session_ledger_verdicts_total{route="/auth/refresh",verdict="rotated"}']
    assert "1.0" == numbers['session_ledger_verdicts_total{route="/auth/refresh",verdict="garbage"}']
    assert "1.0" == numbers["session_ledger_unknown_names_total"]
    assert "2.0" == numbers['session_ledger_request_seconds_count{method="POST",route="/auth/refresh",status="2xx"}']
    assert "2.0" == numbers['session_ledger_request_seconds_count{method="GET",route="none",status="4xx"}']
    assert float(numbers["session_ledger_commit_seconds_count"]) >= 4
    assert [] == [word for word in ("fam_", "sub_", "slr_", "nobody-77", "admin", "no/such") if word in told]


def test_counting_a_request_costs_microseconds() -> None:
    metrics = Metrics()
    began = time.thread_time()
    for _ in range(20_000):
        metrics.request("POST", "/auth/refresh", 200, 0.002, {"verdict": "rotated"})
    each = (time.thread_time() - began) / 20_000
    assert each < 50e-6  # on a quiet core it is under 5


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.nobody()
    assert (1.0, 0.0) == tuple(m.registry.get_sample_value("session_ledger_unknown_names_total") for m in (one, other))


async def test_a_server_that_ends_by_itself_is_told_from_one_that_was_asked_to(place: Place) -> None:
    """Nothing restarts a server inside the process: whatever supervises it must see that it ended."""

    async def application(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError

    with socket.create_server(("127.0.0.1", place.port)):
        running = serving.serve(application, "127.0.0.1", place.port, asyncio.Event(), lambda: None)
        assert not await asyncio.wait_for(running, PATIENCE)


def test_a_database_that_is_gone_is_not_made_again_by_serve(place: Place, on_sqlite: None) -> None:
    place.database.unlink()
    assert 2 == place.run("serve").status
    assert not place.database.exists()
    with closing(sqlite3.connect(place.database)) as connection:
        assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()


def test_serve_prints_no_password_that_was_given(place: Place) -> None:
    with place.serving() as child:
        told = child.err
    assert "LEDGER_ADMIN_PASSWORD" in told
    assert PASSWORD not in told + child.out
