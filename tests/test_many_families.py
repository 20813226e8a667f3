"""What is asked of all families at once: odd ones are found by their index, a count goes in slices."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Integer
from sqlalchemy import event as happening

from events import bulk, projections, schema, standing
from events.family_search import FamilySearch
from events.fields import FAMILIES
from events.filters import Query, parse
from events.store import Store
from service import Service
from tests.visitors import sign_in


@pytest.mark.parametrize("words", ["is:suspicious", "has:reuse"])
async def test_odd_families_are_found_by_their_index_however_many_others_there_are(store: Store, words: str) -> None:
    engine, query, said = store.readers(), parse(words, FAMILIES), list[tuple[str, Any]]()
    assert isinstance(query, Query)

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        said.append((statement, parameters))

    happening.listen(engine.sync_engine, "before_cursor_execute", note)
    await FamilySearch(engine).page(query, 0, counted=True)
    await FamilySearch(engine).count(query, 0)
    happening.remove(engine.sync_engine, "before_cursor_execute", note)
    on_postgresql = engine.dialect.name == "postgresql"
    async with engine.connect() as connection:
        if on_postgresql:  # of an empty table it would read the one page that there is
            await connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in said:
            if "FROM families" not in statement:
                continue
            word = "EXPLAIN" if on_postgresql else "EXPLAIN QUERY PLAN"
            rows = await connection.exec_driver_sql(f"{word} {statement}", parameters)
            assert "families_suspicious" in str(rows.all()), statement
    await engine.dispose()


async def test_a_count_in_slices_is_that_of_all_families(
    service: Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await sign_in(http)
    whole = await service.family_reader.standing()
    for size in range(1, 8):
        monkeypatch.setattr(standing, "_AT_ONCE", size)
        assert whole == await service.family_reader.standing()

    assert [5] == [one.families for one in whole.values()]


@pytest.mark.parametrize("how", ["force_generic_plan", "force_custom_plan"])
def test_a_family_and_its_owner_are_found_by_hash_however_the_server_plans(
    store: Store, on_postgresql: None, how: str
) -> None:
    def filled(connection: Connection) -> None:
        some = {"id": "substr(sha256(n::text::bytea), 1, 16)", "name": "n::text"}
        for table in (schema.families, schema.subjects):
            numbers = (one.name for one in table.c if isinstance(one.type, Integer))
            values = {one.name: "''" for one in table.c} | dict.fromkeys(numbers, "0") | some
            told = ", ".join(values[one.name] for one in table.c)
            connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT {told} FROM generate_series(1, 20000) n")
            connection.exec_driver_sql(f"ANALYZE {table.name}")

    def planned(connection: Connection) -> str:
        wanted = bulk._among(projections.FAMILY_AND_OWNER, schema.families.c.id, connection.dialect)
        connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {how}")
        connection.exec_driver_sql(f"PREPARE families_by_id AS {wanted}")
        steps = connection.exec_driver_sql("EXPLAIN EXECUTE families_by_id (ARRAY['a', 'b']::bytea[])").scalars()
        return "\n".join(steps)

    store.transact(filled)
    plan = store.read(planned)
    assert "Index Scan using families_id" in plan
    assert "Index Scan using subjects_id" in plan
