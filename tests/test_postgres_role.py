"""The role that a service runs as: only PostgreSQL has roles. It serves, and what it may not do is refused to it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from core.erasure import Erasure
from core.erasures import new_action
from core.jobs import ContextExpiry
from events.postgres_store import PostgresStore
from events.verify import Intact, verify
from settings import Settings
from tests.check import check
from tests.conftest import MASTER_KEY, PASSWORD, running, visiting
from tests.databases import Server
from tests.processes import Place
from tests.visitors import refresh, sign_in

SECRET = "violet-93"
SECRETIVE = "cobalt-lantern-68-meadow"
GUARD = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace LIMIT 1"
_NUMBERS = itertools.count()


class Roles(NamedTuple):
    """An owner, a role that serves, and their database, which is empty."""

    server: Server
    database: str
    owner: str
    role: str

    def url(self, user: str) -> str:
        return self.server.cluster.url(self.database, user, SECRET)

    def dsn(self, user: str) -> str:
        return self.server.cluster.dsn(self.database, user, SECRET)

    def place(self, folder: Path, user: str) -> Place:
        return Place(folder, PostgresStore(self.url(user)))


@pytest.fixture
def roles(server: Server, on_postgresql: None) -> Iterator[Roles]:
    number = next(_NUMBERS)
    one = Roles(server, f"owned_{number}", f"owner_{number}", f"ledger-service {number}")
    for name in (one.owner, one.role):
        server.cluster.psql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{SECRET}'")
    server.cluster.psql(f"CREATE DATABASE {one.database} OWNER {one.owner} TEMPLATE template0")
    yield one
    server.cluster.drop_database(one.database)
    for name in (one.owner, one.role):
        server.cluster.psql(f'DROP ROLE "{name}"')


@pytest.fixture
def granted(roles: Roles, tmp_path: Path) -> Roles:
    """The owner has migrated, as the page about PostgreSQL says."""
    told = roles.place(tmp_path, roles.owner).done("migrate", "--grant", roles.role)
    assert f"{roles.role} may run a service on it." == told.splitlines()[-1]
    return roles


def settings_of(roles: Roles, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "database_url": roles.url(roles.role),
            "master_key": MASTER_KEY,
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "admin_password": PASSWORD,
            "public_url": "https://ledger.test",
        }
    )


async def test_a_service_of_that_role_does_everything_that_a_service_does(granted: Roles, tmp_path: Path) -> None:
    async with running(settings_of(granted, tmp_path)) as service, visiting(service) as http:
        first, second = await sign_in(http), await sign_in(http)
        statuses = [
            (await refresh(http, first["refresh_token"])).status_code,
            (await http.post("/auth/logout", json={"refresh_token": second["refresh_token"]})).status_code,
        ]
        await ContextExpiry(service.ledger, service.writer, -1, service.writer.now).run()
        for job in service._table():
            await job.run()
        await service.verification.close()

    assert [200, 204] == statuses
    assert isinstance(PostgresStore(granted.url(granted.role)).read(verify), Intact)
    check(PostgresStore(granted.url(granted.owner)), tmp_path / "checkpoints")


FORBIDDEN = (
    "UPDATE events SET body = '{}'",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE event_private SET data = ''",
    "TRUNCATE event_private",
    "DELETE FROM head",
    "INSERT INTO head SELECT 2, size, frontier, last_at, key_checks, signing_key, signing_since FROM head",
    "TRUNCATE families",
    "DELETE FROM families",
    "UPDATE alembic_version SET version_num = '0000'",
    "DROP TRIGGER {trigger} ON events",
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "ALTER TABLE events DISABLE TRIGGER {trigger}",
    "ALTER TABLE events OWNER TO CURRENT_USER",
    "DROP TABLE events CASCADE",
    "CREATE OR REPLACE RULE none AS ON INSERT TO events DO INSTEAD NOTHING",
    "DROP FUNCTION {guard} CASCADE",
    "SET session_replication_role = replica",
    "SET ROLE {owner}",
    "CREATE TABLE mine (number int)",
)


async def test_what_would_change_the_log_is_refused_to_that_role(granted: Roles) -> None:
    trigger = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'events'::regclass AND NOT tgisinternal LIMIT 1"
    connection = await asyncpg.connect(granted.dsn(granted.role))
    named = {
        "trigger": await connection.fetchval(trigger),
        "guard": await connection.fetchval(GUARD),
        "owner": granted.owner,
    }
    let_through = []
    for statement in FORBIDDEN:
        try:
            await connection.execute(statement.replace("{}", "{{}}").format(**named))
        except asyncpg.InsufficientPrivilegeError:
            continue
        let_through.append(statement)
    privileges = await connection.fetch(
        "SELECT privilege_type FROM information_schema.table_privileges WHERE table_name = 'events'"
    )
    await connection.close()

    assert [] == let_through
    assert {"INSERT", "SELECT"} == {row[0] for row in privileges}


async def test_the_owner_cannot_change_the_log_by_accident_either(granted: Roles, tmp_path: Path) -> None:
    async with running(settings_of(granted, tmp_path)):
        pass
    connection = await asyncpg.connect(granted.dsn(granted.owner))
    for statement in ("UPDATE events SET body = ''", "DELETE FROM events", "TRUNCATE events"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(statement)
    await connection.close()


def test_granting_again_takes_back_what_was_too_much(granted: Roles, tmp_path: Path) -> None:
    granted.server.cluster.psql(f'GRANT ALL ON events, head, families TO "{granted.role}"', granted.database)
    granted.place(tmp_path, granted.owner).done("migrate", "--grant", granted.role)
    asked = f"SELECT has_table_privilege('{granted.role}', 'events', 'UPDATE, DELETE, TRUNCATE, TRIGGER')"

    assert "f" == granted.server.cluster.psql(asked, granted.database)


def test_a_role_that_there_is_not_is_one_sentence_and_grants_nothing(roles: Roles, tmp_path: Path) -> None:
    ended = roles.place(tmp_path, roles.owner).run("migrate", "--grant", "nobody here")

    assert (2, "There is no role nobody here: create it first, for example with createuser.") == (
        ended.status,
        ended.err.strip(),
    )


def test_before_it_is_granted_anything_a_service_is_told_what_to_do(roles: Roles, tmp_path: Path) -> None:
    roles.place(tmp_path, roles.owner).done("migrate")
    ended = roles.place(tmp_path, roles.role).run("serve")

    assert 0 != ended.status
    assert "session-ledger migrate --grant" in ended.err
    assert "Traceback" not in ended.err


def test_what_only_the_owner_may_do_is_one_sentence_for_that_role(granted: Roles, tmp_path: Path) -> None:
    with granted.place(tmp_path, granted.role).serving():
        pass
    refused = granted.place(tmp_path, granted.role).run("rebuild")
    granted.place(tmp_path, granted.owner).done("rebuild")

    assert 0 != refused.status
    assert "owner" in refused.err
    assert "Traceback" not in refused.err


def test_there_are_no_roles_on_sqlite(tmp_path: Path) -> None:
    """Beside the others, because it is what they are not."""
    ended = Place(tmp_path).run("migrate", "--grant", "ledger")

    assert (2, "There are no roles on SQLite: leave out --grant.") == (ended.status, ended.err.strip())
    assert not (tmp_path / "data").exists()


async def test_that_role_erases_somebody_and_the_owner_alone_writes_the_tables_anew(
    granted: Roles, tmp_path: Path
) -> None:
    settings = settings_of(granted, tmp_path)
    async with running(settings) as service, visiting(service) as http:
        await service.subjects.register("marguerite", SECRETIVE, "", "cli")
        await sign_in(http, "marguerite", SECRETIVE)
        owner = await service.subjects.find("marguerite")
        assert owner is not None
        await service.erasures.erase(owner, Erasure(new_action(), owner.id, "cli", "user_request"))
        assert 1 == await service.actions.resume()
        assert [] == await service.actions.reader.unfinished()
    refused = granted.place(tmp_path, granted.role).run("compact")
    told = granted.place(tmp_path, granted.owner).done("compact")

    check(PostgresStore(granted.url(granted.owner)), secrets=["marguerite"])
    assert refused.status == 2
    assert "Only the owner of the tables can do this" in refused.err
    assert told.startswith("Nothing is left of deleted rows")
