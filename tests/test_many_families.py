"""What is asked of all families at once: odd ones are found by their index, a count goes in slices."""

from typing import Any

import httpx
import pytest
from sqlalchemy import event as happening

from events import standing
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
