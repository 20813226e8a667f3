"""Another master key, while clients refresh: nobody is refused, whoever learns of it when; and the old one goes."""

import asyncio
import signal
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

import app
from core.agreement import PERIOD, SECONDS
from core.key_source import File
from core.master import MasterKeys
from core.masters import demand_all
from core.start import StartError
from core.token import Token, mint
from events import ids, processes
from events.key import ACTIVE, NEXT
from events.postgres_store import PostgresStore
from events.processes import Agreement, Process, Signing
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import tables, vaults
from tests.check import check, events_of
from tests.conftest import MASTER_KEY, PASSWORD, MakeSettings, running, visiting
from tests.processes import PATIENCE, Child, Place
from tests.vaults import Vault

OLD = MASTER_KEY
NEW = "2:" + sha256(b"another key of the tests").hexdigest()
NOW = 1_800_000_000_000_000
UNTIL = NOW + SECONDS * 1_000_000
CLIENTS = 6


def number_of(token: str) -> int:
    """The master key that a refresh token stands under."""
    return urlsafe_b64decode(token.removeprefix("slr_"))[0]


def announced(store: Store, holder: str, *numbers: int, now: int = NOW) -> Agreement:
    return store.transact(processes.announce(holder, numbers, now, now + SECONDS * 1_000_000))


def signing(found: Agreement) -> int:
    return found.signing.number


def test_the_first_process_of_a_ledger_says_which_key_signs(store: Store) -> None:
    assert Agreement(Signing(7, NOW), ()) == announced(store, "a", 7, 1)
    assert Agreement(Signing(7, NOW), (Process("a", (7, 1), 7),)) == announced(store, "b", 1, 7)


def test_a_new_key_signs_when_every_living_process_has_it_in_front(store: Store) -> None:
    announced(store, "a", 1)
    announced(store, "b", 1)

    assert [1, 1] == [signing(announced(store, "a", 2, 1)), signing(announced(store, "b", 1, 2))]
    assert [2, 2] == [signing(announced(store, "b", 2, 1)), signing(announced(store, "a", 2, 1))]


def test_nobody_is_counted_who_ended_or_was_not_heard_of_for_long(store: Store) -> None:
    announced(store, "a", 1)
    announced(store, "killed", 1)
    assert 1 == signing(announced(store, "a", 2, 1, now=UNTIL - 1))
    assert 2 == signing(announced(store, "a", 2, 1, now=UNTIL))

    announced(store, "ended", 2, 1, now=UNTIL)
    store.transact(processes.leave("ended"))
    assert Agreement(Signing(1, UNTIL + 1), ()) == announced(store, "a", 1, 2, now=UNTIL + 1)


def test_who_does_not_know_the_key_that_signs_is_not_counted_and_changes_nothing(store: Store) -> None:
    announced(store, "a", 1)
    announced(store, "stranger", 3)
    assert () == announced(store, "a", 1).others


async def test_a_service_without_the_key_that_signs_does_not_start(make_settings: MakeSettings, store: Store) -> None:
    async with running(make_settings(master_key=f"{NEW},{OLD}")):
        with pytest.raises(StartError, match="signs with master key 2, which is not here"):
            async with running(make_settings(master_key=OLD)):
                pass


async def test_a_token_of_a_key_that_another_process_knows_is_no_unknown_one(
    service: app.Service, http: httpx.AsyncClient, store: Store
) -> None:
    """It may be genuine: whoever hears "unknown" signs somebody out."""
    master = MasterKeys.parse(NEW)
    text = mint(Token(2, bytes(16), bytes(16), 1), master.refresh_key(2) or b"")
    unknown = await http.post("/auth/refresh", json={"refresh_token": text})
    now = service.writer.now()
    store.transact(processes.announce("another", (1, 2), now, now + 60_000_000))
    await service.agreement.run()
    elsewhere = await http.post("/auth/refresh", json={"refresh_token": text})

    assert (401, "token_unknown") == (unknown.status_code, unknown.json()["code"])
    assert (503, "unavailable") == (elsewhere.status_code, elsewhere.json()["code"])
    assert "Retry-After" in elsewhere.headers


async def test_a_process_that_hung_for_long_knows_that_it_may_have_missed_a_key(service: app.Service) -> None:
    assert not service.agreement.is_elsewhere(9)
    service.agreement._heard = time.monotonic() - SECONDS - 1
    assert service.agreement.is_elsewhere(9)
    await service.agreement.run()
    assert not service.agreement.is_elsewhere(9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key file as a platform would mount it."""
    path = tmp_path / "master"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def with_file(make_settings: MakeSettings, file: Path) -> MakeSettings:
    """Settings whose master key is in the file."""
    return lambda **changes: make_settings(master_key=None, master_key_file=file, **changes)


def write(file: Path, text: str) -> None:
    """As a platform replaces a secret."""
    file.write_text(text)


async def signed_in(http: httpx.AsyncClient) -> str:
    answer = await http.post("/auth/login", json={"username": "admin", "password": PASSWORD, "mode": "body"})
    return str(answer.json()["refresh_token"])


async def refreshed(http: httpx.AsyncClient, token: str) -> str:
    answer = await http.post("/auth/refresh", json={"refresh_token": token})
    assert 200 == answer.status_code, answer.text
    return str(answer.json()["refresh_token"])


async def test_a_key_is_learned_and_put_to_use_without_a_restart(
    with_file: MakeSettings, file: Path, store: Store, tmp_path: Path
) -> None:
    async with running(with_file()) as service, visiting(service) as http:
        first = await signed_in(http)
        idle = await signed_in(http)
        note = service.checkpointing.note
        write(file, f"{NEW},{OLD}")
        await service.agreement.reread()
        second = await refreshed(http, first)
        again = await refreshed(http, first)
        assert 2 == await service.keys.rewrap()
        assert 0 == await service.keys.rewrap()
        wrapped = {one.wrapped_by for one in service.keys.states if one.status in (ACTIVE, NEXT)}
        await service.checkpointing.run()

        assert ([1, 2], second) == ([number_of(first), number_of(second)], again)
        assert {2} == wrapped
        assert note != service.checkpointing.note
        assert "key.rewrapped" in [event.name for event in events_of(store)]
        assert "master_keys_learned" not in service.agreement.failing
        third = await refreshed(http, second)
    check(store, tmp_path / "checkpoints")

    write(file, NEW)
    with pytest.raises(StartError, match=r"Sessions stand under master key 1.*--number 1"):
        app.prepare(with_file())
    write(file, f"{NEW},{OLD}")
    async with running(with_file()) as service, visiting(service) as http:
        assert 2 == number_of(await refreshed(http, idle))
    write(file, NEW)
    async with running(with_file()) as service, visiting(service) as http:
        await refreshed(http, third)
    check(store, tmp_path / "checkpoints")


async def test_a_source_that_fails_or_lies_changes_nothing(with_file: MakeSettings, file: Path) -> None:
    async with running(with_file()) as service, visiting(service) as http:
        token = await signed_in(http)
        for text in ("", "2:00", f"1:{NEW[2:]}", f"{OLD},{OLD}"):
            write(file, text)
            await service.agreement.reread()
            assert service.agreement.failing
            assert NEW[2:10] not in service.agreement.failing
        await asyncio.to_thread(file.unlink)
        await service.agreement.reread()
        assert "cannot be read" in service.agreement.failing

        assert (1,) == service.master.numbers
        write(file, OLD)
        await service.agreement.reread()
        assert not service.agreement.failing
        await refreshed(http, token)


def test_a_key_that_is_taken_away_is_known_until_the_process_ends(file: Path) -> None:
    keys, fewer = MasterKeys.parse(f"{NEW},{OLD}"), MasterKeys.parse(NEW)
    was = keys.refresh_key(1)
    keys.learn(fewer)
    assert (was, (2, 1)) == (keys.refresh_key(1), keys.numbers)
    with pytest.raises(ValueError, match="give a new key a new number"):
        keys.learn(MasterKeys.parse(f"1:{NEW[2:]}"))
    assert not File(file).lasting


def test_keys_that_nobody_needs_any_more_are_not_demanded(store: Store) -> None:
    announced(store, "a", 1)
    demand_all(store, MasterKeys.parse(NEW), NOW)


class Going:
    """A client of one or several processes in turn: after a lost answer or a 5xx it asks the next, with its token."""

    def __init__(self, urls: list[str], token: str, family: str) -> None:
        self.urls, self.token, self.family = urls, token, family
        self.rotations = 0
        self.refused: list[str] = []

    async def go_on(self, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            turn = 0
            while not stop.is_set():
                turn += 1
                try:
                    asked = {"refresh_token": self.token}
                    answer = await http.post(f"{self.urls[turn % len(self.urls)]}/auth/refresh", json=asked)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    self.token, self.rotations = answer.json()["refresh_token"], self.rotations + 1
                elif answer.status_code < 500:  # what a service that ends leaves unanswered is asked again
                    self.refused.append(answer.text)
                    return


@asynccontextmanager
async def load(*places: Place) -> AsyncIterator[list[Going]]:
    """Clients that refresh all the while; none of them is refused until the block ends."""
    stop, urls, clients = asyncio.Event(), [place.url for place in places], []
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        for _ in range(CLIENTS):
            asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
            answer = (await http.post(f"{urls[0]}/auth/login", json=asked)).json()
            clients.append(Going(urls, answer["refresh_token"], answer["family_id"]))
    running_ = [asyncio.create_task(one.go_on(stop)) for one in clients]
    try:
        yield clients
    finally:
        stop.set()
        await asyncio.gather(*running_)
    assert [] == [text for one in clients for text in one.refused]


async def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it does not come to that"
        await asyncio.sleep(0.05)


def all_under(clients: list[Going], number: int) -> Callable[[], bool]:
    return lambda: all(number_of(one.token) == number for one in clients)


async def further(clients: list[Going], by: int = 3) -> None:
    """Until every client has refreshed so many times more."""
    goals = [one.rotations + by for one in clients]
    await until(lambda: all(one.rotations >= goal for one, goal in zip(clients, goals, strict=True)))


def generations(store: Store, clients: list[Going]) -> list[int]:
    found: dict[bytes, int] = dict(tables.rows(store, "SELECT id, generation FROM families"))
    return [found[ids.parse("fam", one.family)] for one in clients]


def wrapping(store: Store) -> list[tuple[int]]:
    """The master keys that wrap signing keys."""
    return tables.rows(store, "SELECT DISTINCT wrapped_by FROM keys")


def place_with(folder: Path, store: Store, text: str, **settings: str) -> Place:
    """A service whose master key stands in a file of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text(text)
    place = Place(folder, store, LEDGER_MASTER_KEY_FILE=str(folder / "key"), **settings)
    place.settings.pop("LEDGER_MASTER_KEY", None)
    if not isinstance(store, PostgresStore):
        place.settings["LEDGER_DATABASE_URL"] = tables.url_of(store)
    return place


def learn(place: Place, child: Child, text: str) -> None:
    (place.folder / "key").write_text(text)
    child.signal(signal.SIGHUP)


async def test_the_master_key_changes_under_load_and_the_old_one_goes(store: Store, tmp_path: Path) -> None:
    """Read again by SIGHUP, then restarted without the old key, while clients go on."""
    place = place_with(tmp_path / "one", store, OLD)
    with place.serving() as child:
        async with load(place) as clients:
            await further(clients)
            learn(place, child, f"{NEW},{OLD}")
            await until(all_under(clients, 2))
            await further(clients)
            await until(lambda: wrapping(store) == [(2,)])
            write(place.folder / "key", NEW)
            child.signal(signal.SIGTERM)
            await asyncio.to_thread(child.ended)
            with place.serving():
                await further(clients)
    assert [one.rotations + 1 for one in clients] == generations(store, clients)
    check(store, place.folder / "checkpoints")


async def test_two_processes_learn_of_the_key_at_different_times(postgres_store: PostgresStore, tmp_path: Path) -> None:
    """Each token goes from one process to the other; while one of them does not know the new key, nobody gets it."""
    first, second = (place_with(tmp_path / name, postgres_store, OLD) for name in ("one", "two"))
    with first.serving() as one, second.serving() as two:
        async with load(first, second) as clients:
            learn(first, one, f"{NEW},{OLD}")
            await asyncio.sleep(PERIOD + 1)
            await further(clients)
            assert all_under(clients, 1)()
            learn(second, two, f"{NEW},{OLD}")
            await until(all_under(clients, 2))
            await further(clients)
    assert [one.rotations + 1 for one in clients] == generations(postgres_store, clients)


async def test_processes_that_are_replaced_one_after_the_other_move_to_the_key_together(
    postgres_store: PostgresStore, tmp_path: Path
) -> None:
    """The key is in the environment: each process learns of it by its own restart."""
    first, second = (Place(tmp_path, postgres_store, LEDGER_MASTER_KEY=OLD) for _ in range(2))
    both = f"{NEW},{OLD}"
    with first.serving() as one, second.serving() as two:
        async with load(first, second) as clients:
            one.signal(signal.SIGTERM)
            await asyncio.to_thread(one.ended)
            with first.serving(LEDGER_MASTER_KEY=both):
                await further(clients)
                assert all_under(clients, 1)()
                two.signal(signal.SIGTERM)
                await asyncio.to_thread(two.ended)
                with second.serving(LEDGER_MASTER_KEY=both):
                    await until(all_under(clients, 2))
                    await further(clients)


@pytest.fixture
def vault() -> Iterator[Vault]:
    vaults.needed()
    with Vault() as one:
        yield one


async def test_a_key_in_a_vault_changes_under_load_by_itself(
    sqlite_store: SqliteStore, vault: Vault, tmp_path: Path
) -> None:
    """Nobody tells the service: it reads again. A Vault that is down meanwhile keeps nobody from refreshing."""
    place = Place(tmp_path, sqlite_store, LEDGER_MASTER_KEY_FROM=vault.named("load"), LEDGER_VAULT_TOKEN=vault.reader())
    place.settings.pop("LEDGER_MASTER_KEY", None)
    vault.put("load", master_key=OLD)
    with place.serving(LEDGER_MASTER_KEY_REREAD="5"):
        async with load(place) as clients:
            vault.put("load", master_key=f"{NEW},{OLD}")
            await until(all_under(clients, 2))
            vault.root.sys.seal()
            await asyncio.sleep(PERIOD + 1)
            await further(clients)
