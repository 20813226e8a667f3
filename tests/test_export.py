"""Events as files: CSV that no spreadsheet runs, NDJSON and JSON, each as the log holds them."""

import csv
import io
import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import ids
from events.client import ClientDisabled
from events.export import COLUMNS, FORMATS, Format, inert, rendered, row
from events.fact import Fact, encode
from events.family import FamilyRevoked, TokenIssued
from events.history import Event
from events.private import Account, Context

ALICE, FAMILY = bytes(range(16)), bytes(range(1, 17))
AGENTS = ('=cmd|" /C calc"!A0', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", 'a "quoted", one', "Firefox", "")


def happened(position: int, fact: Fact, agent: str = "") -> Event:
    bound = msgspec.structs.replace(fact, request="A" * 16)
    at = 1_800_000_000_000_000 + position
    return Event(position, FAMILY, 1, at, bound, encode(bound), Context("203.0.113.7", agent), Account())


def revoked(position: int, agent: str = "") -> Event:
    whose = ids.to_text("sub", ALICE)
    fact = FamilyRevoked(actor="policy", subject=whose, client="web", reason="reuse", ticket="INC-1")
    return happened(position, fact, agent)


async def text_of(form: Format, *pages: list[Event]) -> str:
    async def read() -> AsyncIterator[list[Event]]:
        for page in pages:
            yield page

    async def names(_events: list[Event]) -> dict[bytes, str]:
        return {ALICE: "=alice"}

    return b"".join([chunk async for chunk in rendered(form, read(), names)]).decode()


def read_back(form: str, text: str) -> list[dict[str, object]]:
    match form:
        case "csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        case "ndjson":
            return [json.loads(line) for line in text.splitlines()]
        case _:
            found: list[dict[str, object]] = json.loads(text)
            return found


PAGES = ([revoked(n, agent) for n, agent in enumerate(AGENTS[:6])], [revoked(6, AGENTS[6])], [revoked(7, AGENTS[7])])


@pytest.mark.parametrize("form", FORMATS)
async def test_every_format_holds_the_same_columns_of_every_event_in_order(form: str) -> None:
    found = read_back(form, await text_of(FORMATS[form], *PAGES))
    assert [tuple(COLUMNS)] * 8 == [tuple(one) for one in found]
    assert [str(n) for n in range(8)] == [str(one["position"]) for one in found]


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_of_nothing_is_whole(form: str) -> None:
    assert [] == read_back(form, await text_of(FORMATS[form]))


async def test_a_page_without_events_leaves_no_mark() -> None:
    assert 2 == len(read_back("json", await text_of(FORMATS["json"], [], [revoked(0)], [], [revoked(1)])))


async def test_no_cell_of_a_csv_begins_a_formula() -> None:
    cells = [cell for one in read_back("csv", await text_of(FORMATS["csv"], *PAGES)) for cell in one.values()]
    assert [] == [cell for cell in cells if str(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert "'=alice" in cells


async def test_json_keeps_what_was_said_as_it_was_said() -> None:
    found = read_back("ndjson", await text_of(FORMATS["ndjson"], *PAGES))
    assert list(AGENTS[:8]) == [one["user_agent"] for one in found]


async def test_the_body_is_the_event_as_it_is_hashed() -> None:
    (found,) = read_back("csv", await text_of(FORMATS["csv"], [revoked(0)]))
    assert revoked(0).body.decode() == found["body"]
    (told,) = read_back("ndjson", await text_of(FORMATS["ndjson"], [revoked(0)]))
    assert json.loads(revoked(0).body) == told["body"]


async def test_a_broken_reading_leaves_the_export_unfinished() -> None:
    async def broken() -> AsyncIterator[list[Event]]:
        yield [revoked(0)]
        raise ConnectionError

    chunks = rendered(FORMATS["json"], broken())
    assert [b"[", True] == [await anext(chunks), (await anext(chunks)).startswith(b"\n{")]
    with pytest.raises(ConnectionError):
        await anext(chunks)


def test_a_row_names_the_family_the_subject_and_the_reason() -> None:
    found = row(revoked(3), {ALICE: "alice"})
    told = {"position": 3, "type": "family.revoked", "name": "alice", "reason": "reuse", "ticket": "INC-1"}
    whose = {
        "family": ids.to_text("fam", FAMILY),
        "subject": ids.to_text("sub", ALICE),
        "at": "2027-01-15T08:00:00.000003Z",
    }
    assert told | whose == {key: found[key] for key in (*told, *whose)}


def test_what_an_event_does_not_have_is_nothing() -> None:
    found = row(happened(0, ClientDisabled(actor="cli", client="web"))._replace(context=Context()))
    assert {"subject", "name", "jti", "reason", "ticket", "ip", "user_agent", "family"} == {
        key for key, value in found.items() if value is None
    }


def test_a_jti_is_told_where_a_token_was_issued() -> None:
    assert "jti" in TokenIssued.__struct_fields__


@given(st.text())
def test_an_inert_cell_is_the_text_or_the_text_behind_a_quote(text: str) -> None:
    assert inert(text) in (text, f"'{text}")
    assert not str(inert(text)).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
