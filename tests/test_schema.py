"""What the migrations make is what the code means: tables, columns and their order, indexes, states."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.dialects.sqlite import dialect

from events import migrate, schema, sqlite
from events.catalogue import NOUNS
from events.projections import TABLES


def reflected(database: Path) -> MetaData:
    """The schema as the database has it."""
    found = MetaData()
    with sqlite.sync_read_engine(database).connect() as connection:
        found.reflect(connection)
    return found


def shape(column: Column[object]) -> tuple[object, ...]:
    """What decides how a column stores: name, SQLite type, NULL, place in the primary key."""
    kind = column.type.compile(dialect=dialect())
    return column.name, kind, bool(column.nullable), bool(column.primary_key)


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Path) -> None:
    found = reflected(database)

    assert set(schema.metadata.tables) | {"alembic_version"} == set(found.tables)


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=str)
def test_each_table_has_the_columns_of_the_code_in_its_order(table: Table, database: Path) -> None:
    stored = reflected(database).tables[table.name]

    assert [shape(column) for column in table.columns] == [shape(column) for column in stored.columns]


def test_nothing_would_be_left_for_another_migration(database: Path) -> None:
    with sqlite.sync_read_engine(database).connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), schema.metadata)

    # the log's search indexes stand in the migration only: each engine has them in its own way
    left = [difference for difference in found if difference[0] != "remove_index"]
    assert [] == left


def test_every_column_that_the_audit_log_searches_has_an_index(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events'")
        indexed = {connection.execute(f"PRAGMA index_info({name})").fetchall()[0][2] for (name,) in indexes.fetchall()}

    assert {*schema.SEARCH_COLUMNS, "actor", "stream"} == indexed


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_the_columns_of_a_projection_are_the_fields_of_its_state_in_order(noun: object) -> None:
    state = noun.state  # type: ignore[attr-defined]

    assert [f.name for f in msgspec.structs.fields(state)] == [column.name for column in TABLES[state].columns]


def test_every_projection_is_of_one_noun_and_every_noun_has_one() -> None:
    assert [noun.state for noun in NOUNS] == list(TABLES)
    assert len(set(TABLES.values())) == len(TABLES)


def test_a_migrated_database_is_at_the_newest_schema(database: Path) -> None:
    with sqlite.sync_read_engine(database).connect() as connection:
        assert migrate.newest() == migrate.current(connection)


def test_a_database_that_was_never_migrated_has_no_schema(tmp_path: Path) -> None:
    with sqlite.write_engine(tmp_path / "new.db").connect() as connection:
        assert migrate.current(connection) is None


def test_an_upgrade_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    class CrashedError(Exception):
        pass

    def crash() -> None:
        with sqlite.transaction(path) as connection:
            migrate.upgrade(connection)
            raise CrashedError

    with pytest.raises(CrashedError):
        crash()

    with closing(sqlite3.connect(path)) as connection:
        assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()


def test_an_upgrade_of_a_ledger_of_today_changes_nothing(database: Path) -> None:
    def all_of_it() -> list[object]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()

    before = all_of_it()
    with sqlite.transaction(database) as connection:
        migrate.upgrade(connection)

    assert before == all_of_it()
