"""What the migrations make is what the code means: tables, columns and their order, indexes, states."""

from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Dialect, MetaData, Table, Text, inspect

from events import migrate, schema
from events.catalogue import NOUNS
from events.postgres_store import PostgresStore
from events.projections import TABLES
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import tables
from tests.conftest import Made
from tests.databases import Server, Stores

Blank = SqliteStore | PostgresStore


@pytest.fixture
def blank(stores: Stores, made: Made, tmp_path: Path) -> Blank:
    """A database in which nothing was ever made."""
    if isinstance(stores, Server):
        server = stores.blank()
        made(server)
        return server
    file = SqliteStore(tmp_path / "new.db")
    file.database.touch()
    return file


def reflected(store: Store) -> MetaData:
    """The schema as the database has it."""
    found = MetaData()
    store.read(found.reflect)
    return found


def shape(column: Column[object], dialect: Dialect) -> tuple[object, ...]:
    """What decides how a column stores: name, the engine's type, NULL, place in the primary key."""
    kind = column.type.compile(dialect=dialect).removesuffix(' COLLATE "C"')
    return column.name, kind, bool(column.nullable), bool(column.primary_key)


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store) -> None:
    found = reflected(store)

    assert set(schema.metadata.tables) | {"alembic_version"} == set(found.tables)


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=str)
def test_each_table_has_the_columns_of_the_code_in_its_order(table: Table, store: Store) -> None:
    stored, dialect = reflected(store).tables[table.name], store.read(lambda connection: connection.dialect)

    assert [shape(one, dialect) for one in table.columns] == [shape(one, dialect) for one in stored.columns]


def test_text_is_compared_byte_by_byte(store: Store) -> None:
    def collations(connection: Connection) -> set[str | None]:
        columns = [column for table in schema.metadata.tables for column in inspect(connection).get_columns(table)]
        return {str(getattr(column["type"], "collation", "")) for column in columns if isinstance(column["type"], Text)}

    assert {"None" if isinstance(store, SqliteStore) else "C"} == store.read(collations)


def test_nothing_would_be_left_for_another_migration(store: Store) -> None:
    found = store.read(lambda one: compare_metadata(MigrationContext.configure(one), schema.metadata))

    # the log's search indexes stand in the migration only: each engine has them in its own way
    left = [difference for difference in found if difference[0] != "remove_index"]
    assert [] == left


def test_every_column_that_the_audit_log_searches_has_an_index(store: Store) -> None:
    def leading(connection: Connection) -> set[str | None]:
        indexed = [one["column_names"] for one in inspect(connection).get_indexes("events")]
        unique = [one["column_names"] for one in inspect(connection).get_unique_constraints("events")]
        return {names[0] for names in indexed} | {names[0] for names in unique}

    assert {*schema.SEARCH_COLUMNS, "actor", "stream"} == store.read(leading)


@pytest.mark.parametrize("column", ["jti", "request"])
def test_ids_that_begin_with_the_time_are_indexed_without_the_events_that_have_none(store: Store, column: str) -> None:
    """NULLs would stand at the end, where new ids go: PostgreSQL then searches the whole tree for their place."""

    def definition_and_plan(connection: Connection) -> tuple[str, str]:
        sqlite = connection.dialect.name == "sqlite"
        catalogue = (
            "SELECT sql FROM sqlite_master WHERE name = "
            if sqlite
            else "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relname = "
        )
        written = connection.exec_driver_sql(f"{catalogue}'events_{column}'").scalar_one()
        if not sqlite:  # of an empty table it would read the one page that there is
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain, key = ("EXPLAIN QUERY PLAN", "x'00'") if sqlite else ("EXPLAIN", "'\\x00'::bytea")
        steps = connection.exec_driver_sql(f"{explain} SELECT position FROM events WHERE {column} = {key}").all()
        return written, str(steps)

    written, plan = store.read(definition_and_plan)
    assert written.rstrip(")").endswith(f"{column} IS NOT NULL")
    assert f"events_{column}" in plan


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_the_columns_of_a_projection_are_the_fields_of_its_state_in_order(noun: object) -> None:
    state = noun.state  # type: ignore[attr-defined]

    assert [f.name for f in msgspec.structs.fields(state)] == [column.name for column in TABLES[state].columns]


def test_every_projection_is_of_one_noun_and_every_noun_has_one() -> None:
    assert [noun.state for noun in NOUNS] == list(TABLES)
    assert len(set(TABLES.values())) == len(TABLES)


def test_a_migrated_database_is_at_the_newest_schema(store: Store) -> None:
    assert migrate.newest() == store.read(migrate.current)


def test_a_database_that_was_never_migrated_has_no_schema(blank: Blank) -> None:
    assert blank.read(migrate.current) is None


def test_an_upgrade_that_is_not_committed_leaves_nothing(blank: Blank, monkeypatch: pytest.MonkeyPatch) -> None:
    class CrashedError(Exception):
        pass

    real = migrate.upgrade

    def crash(connection: Connection) -> None:
        real(connection)
        raise CrashedError

    monkeypatch.setattr(migrate, "upgrade", crash)
    with pytest.raises(CrashedError):
        migrate.bring_up(blank)

    assert [] == tables.names(blank)


def test_an_upgrade_of_a_ledger_of_today_changes_nothing(store: Store) -> None:
    before = tables.schema(store)
    store.transact(migrate.upgrade)

    assert before == tables.schema(store)
