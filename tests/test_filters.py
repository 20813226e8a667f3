"""The filter language: what it takes, what it says of a mistake, and that each query reads back as itself."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import ids
from events.catalogue import BY_TYPE
from events.fields import EVENTS, FAMILIES, OPS, FieldSet, field_set, op_of, types_with
from events.filters import MAX_LENGTH, MAX_TERMS, Mistake, Query, Term, parse
from events.spans import DAY, SECOND, moment
from events.values import Ago, AnyOf, Glob, Is, Login, Network, Span, Times

FAMILY = ids.to_text("fam", bytes(16))
SUBJECT = ids.to_text("sub", bytes(range(16)))
NOON = 1_763_640_000 * SECOND
"""2025-11-20T12:00:00Z."""


def asked(text: str, fields: FieldSet = EVENTS) -> Query:
    found = parse(text, fields)
    assert isinstance(found, Query), found
    return found


def wrong(text: str, fields: FieldSet = EVENTS) -> Mistake:
    found = parse(text, fields)
    assert isinstance(found, Mistake), found
    return found


def meanings(text: str, fields: FieldSet = EVENTS) -> list[object]:
    return [value.meaning for term in asked(text, fields).terms for value in term.values]


WORDS = st.one_of(
    st.sampled_from(
        [*EVENTS.by_name, *FAMILIES.by_name, "-", ":", ",", '"', "\\", "*", "..", ">=", "<", "#", " ", "\n"]
    ),
    st.sampled_from(
        ["token.*", "alice", "203.0.113.7/24", "2001:db8::1", "2h", "2026-11-20", FAMILY, SUBJECT, "A" * 22]
    ),
    st.text(max_size=6),
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map("".join))


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.sampled_from([EVENTS, FAMILIES]))
def test_any_text_is_a_query_that_reads_back_or_a_mistake_inside_it(text: str, fields: FieldSet) -> None:
    found = parse(text, fields)
    if isinstance(found, Query):
        assert found == parse(found.text(), fields)
    else:
        assert 0 <= found.position <= len(text)
        assert found.message


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["user", "client", "reason", "ua", "ticket"]),
    st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=60),
    st.booleans(),
)
def test_a_clicked_value_reads_back_as_itself_whatever_it_holds(key: str, value: str, exclude: bool) -> None:
    query = asked("at:24h").with_(key, value, exclude=exclude)
    term = query.term(key, exclude=exclude)
    assert term is not None
    assert value == term.values[0].text
    assert query == parse(query.text())


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_a_query_without_any_of_its_chips_is_empty(text: str) -> None:
    query = parse(text)
    if isinstance(query, Query):
        for chip in query.chips():
            query = query.without(chip)
        assert query.terms == ()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("  user:alice\tuser:bob ", "user:alice,bob"),
        ("USER:alice,bob,alice", "user:alice,bob"),
        ("subject:alice", "user:alice"),
        ("user:alice at:2h user:bob", "user:alice,bob at:2h"),
        ("-user:alice -user:bob user:charlie", "-user:alice,bob user:charlie"),
        ("TYPE:Token.Rotated", "type:token.rotated"),
        ("#48213", "position:48213"),
        ("-#7", "-position:7"),
        ("seq:#7", "position:7"),
        ("203.0.113.77/24", "ip:203.0.113.0/24"),
        ("2001:DB8:0::1", "ip:2001:db8::1"),
        ("fe80::1", "ip:fe80::1"),
        ("ip:203.0.113.7/32", "ip:203.0.113.7"),
        (FAMILY, f"family:{FAMILY}"),
        (f"-{SUBJECT}", f"-user:{SUBJECT}"),
        ("A" * 22, "jti:" + "A" * 22),
        ("A" * 16, "request:" + "A" * 16),
        ('user:"alice"', "user:alice"),
        ('user:"d\'arcy, ann",bob', 'user:"d\'arcy, ann",bob'),
        (r'user:"a \"b\" \\"', r'user:"a \"b\" \\"'),
        ('ua:"*"', 'ua:"*"'),
    ],
)
def test_each_query_has_one_text(text: str, canonical: str) -> None:
    assert canonical == asked(text).text()


@pytest.mark.parametrize(
    ("text", "marked", "says", "meant"),
    [
        ("usr:alice", "usr", "no field `usr`", "user:"),
        ("at:2h  -famly:x", "famly", "no field `famly`", "family:"),
        ("zzzz:1", "zzzz", "no field `zzzz`", ""),
        ("type:token.rotatd", "token.rotatd", "does not know", "type:token.rotated"),
        ("type:nothing.*", "nothing.*", "knows no value", ""),
        ("op:revok", "revok", "does not know", "op:revoke"),
        ("token.rotated", "token.rotated", "needs its field", "type:token.rotated"),
        ("alice", "alice", "no search for text", "user:alice"),
        ("user:", "", "value is missing", ""),
        ("user:alice,", "", "value is missing", ""),
        ('user:""', '""', "value is empty", ""),
        ('user:"alice', '"alice', "never closed", ""),
        ('user:"alice"bob', "b", "space or a comma", ""),
        ("user:al*", "al*", "takes no `*`", ""),
        ("user:a\x07b", "a\x07b", "unprintable", ""),
        ("-", "-", "nothing behind the minus", ""),
        ("- user:alice", "-", "nothing behind the minus", ""),
        ("--user:alice", "-user:alice", "no search for text", ""),
        ("at:yesterday", "yesterday", "takes a time", ""),
        ("at:2026-02-30", "2026-02-30", "takes a time", ""),
        ("at:*..*", "*..*", "takes a time", ""),
        ('at:"2h"', '"2h"', "takes a time", ""),
        ("at:٣h", "٣h", "takes a time", ""),
        ("position:-1", "-1", "takes a number", ""),
        ("ip:203.0.113", "203.0.113", "takes an address", ""),
        ("ip:fe80::1%eth0", "fe80::1%eth0", "takes an address", ""),
        ("family:fam_short*", "fam_short*", "first 12 characters", ""),
        ("jti:AAAAA*", "AAAAA*", "first 6", ""),
        ("jti:" + "A" * 21 + "B", "A" * 21 + "B", "22 characters", ""),
        ("asn:9009", "asn", "no field `asn`", ""),
    ],
)
def test_a_mistake_says_where_it_is_and_what_may_have_been_meant(text: str, marked: str, says: str, meant: str) -> None:
    mistake = wrong(text)
    assert marked == text[mistake.position : mistake.position + mistake.length][: len(marked)]
    assert says in mistake.message
    assert meant == mistake.meant


def test_a_mistake_is_marked_below_the_text() -> None:
    mistake = wrong("at:2h usr:alice")
    assert "at:2h usr:alice\n      ^^^" == mistake.caret()
    assert "There is no field `usr` for events. Did you mean `user:`?" == mistake.told()


def test_a_query_that_is_too_long_or_has_too_many_terms_is_a_mistake() -> None:
    assert isinstance(parse("user:a " * MAX_TERMS), Query)
    assert f"at most {MAX_TERMS} terms" in wrong("user:a " * (MAX_TERMS + 1)).message
    assert f"at most {MAX_LENGTH} characters" in wrong("user:" + "a" * MAX_LENGTH).message
    assert "Written out" in wrong("#1 user:" + "a" * (MAX_LENGTH - 8)).message
    assert "Written out" in wrong("user:" + "a" * (MAX_LENGTH - 6)).message


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("type:token.issued", Is(1)),
        ("type:token.*", AnyOf((1, 2, 3, 4, 5))),
        ("op:fail", AnyOf((4, 5, 19, 20, 29))),
        ("user:Alice", Login("alice")),
        ("user:ÅSA", Login("åsa")),
        (f"user:{SUBJECT}", Is(bytes(range(16)))),
        ("actor:policy", Is("policy")),
        ("actor:staff:*", Span("staff:", "staff;")),
        ("actor:staff:Bob", Login("bob", "staff:")),
        (f"actor:staff:{SUBJECT}", Is(f"staff:{SUBJECT}")),
        ("client:web", Is("web")),
        ("client:mobile*ios", Glob(("mobile", "ios"))),
        ('client:"mobile*"', Is("mobile*")),
        ("ua:Firefox", Glob(("", "Firefox", ""))),
        ("ua:Mozilla*Firefox", Glob(("Mozilla", "Firefox"))),
        ('ua:"a*b"', Glob(("", "a*b", ""))),
        ("ip:203.0.113.7", Is(bytes([203, 0, 113, 7]))),
        ("ip:203.0.113.7/31", Network(bytes([203, 0, 113, 6]), bytes([203, 0, 113, 7]))),
        ("ip:::/0", Network(bytes(16), b"\xff" * 16)),
        ("jti:AAAAAA*", Span(bytes(5), bytes(4) + b"\x10")),
        ("jti:______*", Span(b"\xff\xff\xff\xff\xf0", None)),
        (f"family:{FAMILY[:16]}*", Span(bytes(8), bytes(7) + b"\x10")),
        ("position:7", Is(7)),
        ("position:>7", Span(8, None)),
        ("position:>=7", Span(7, None)),
        ("position:<7", Span(None, 7)),
        ("position:<=7", Span(None, 8)),
        ("position:7..9", Span(7, 9)),
        ("position:7..*", Span(7, None)),
        ("position:*..9", Span(None, 9)),
        ("at:2h", Times(Ago(7_200 * SECOND), None)),
        ("at:2w..1d", Times(Ago(14 * DAY), Ago(DAY))),
        ("at:<1d", Times(None, Ago(DAY))),
        ("at:2025-11-20", Times(NOON - DAY // 2, NOON + DAY // 2)),
        ("at:>2025-11-20", Times(NOON + DAY // 2, None)),
        ("at:<=2025-11-20", Times(None, NOON + DAY // 2)),
        ("at:2025-11-20T12:00Z", Times(NOON, NOON + 60 * SECOND)),
        ("at:2025-11-20T12:00", Times(NOON, NOON + 60 * SECOND)),
        ("at:2025-11-20t12:00:00z", Times(NOON, NOON + SECOND)),
        ("at:2025-11-20T12:00:00.25Z", Times(NOON + 250_000, NOON + 260_000)),
        ("at:2025-11-20T12:00..1h", Times(NOON, Ago(3600 * SECOND))),
    ],
)
def test_a_value_means(text: str, meaning: object) -> None:
    assert [meaning] == meanings(text)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("is:active", Is("living")),
        ("has:reuse", Is("reuse")),
        ("age:>30d", Times(None, Ago(30 * DAY))),
        ("age:<7d", Times(Ago(7 * DAY), None)),
        ("age:7d", Times(Ago(7 * DAY), None)),
        ("age:7d..30d", Times(Ago(30 * DAY), Ago(7 * DAY))),
        ("gen:>100", Span(101, None)),
        ("ends:1d", Times(Ago(0), Ago(-DAY))),
        ("ends:1d..2d", Times(Ago(-DAY), Ago(-2 * DAY))),
        ("by:staff:bob", Login("bob", "staff:")),
        ("used:<2h", Times(None, Ago(7_200 * SECOND))),
    ],
)
def test_a_value_of_families_means(text: str, meaning: object) -> None:
    assert [meaning] == meanings(text, FAMILIES)


def test_a_duration_counts_from_the_moment_of_asking() -> None:
    assert (NOON - 5, NOON + 5, 3, None) == (
        moment(Ago(5), NOON),
        moment(Ago(-5), NOON),
        moment(3, NOON),
        moment(None, NOON),
    )


def test_a_clicked_value_leaves_the_other_side() -> None:
    query = asked("-user:alice,bob at:2h")
    assert "-user:bob at:2h user:alice" == query.with_("user", "alice").text()
    assert (
        "at:2h -user:alice,bob"
        == query.without(query.terms[0])
        .with_("user", "alice", exclude=True)
        .with_("subject", "bob", exclude=True)
        .text()
    )


def test_a_value_that_a_field_does_not_take_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="takes an address"):
        asked("").with_("ip", "alice")


def test_a_bar_of_the_histogram_asks_for_its_time_anew() -> None:
    query = asked("at:24h user:alice -at:1d").between("at", NOON, NOON + 1)
    assert "user:alice -at:1d at:2025-11-20T12:00:00.000000Z..2025-11-20T12:00:00.000001Z" == query.text()
    assert [Login("alice"), Times(Ago(DAY), None), Times(NOON, NOON + 1)] == meanings(query.text())


def test_a_chip_is_one_value_and_can_be_taken_away() -> None:
    query = asked("user:alice,bob -type:token.*")
    assert ["user:alice", "user:bob", "-type:token.*"] == [chip.text() for chip in query.chips()]
    assert "user:bob -type:token.*" == query.without(query.chips()[0]).text()


def test_terms_say_what_they_are() -> None:
    query = asked("-user:alice user:bob")
    assert (True, "bob", None) == (
        query.term("user", exclude=True) is query.terms[0],
        (query.term("user") or Term("", ())).values[0].text,
        query.term("at"),
    )


@pytest.mark.parametrize("fields", [EVENTS, FAMILIES], ids=lambda fields: fields.name)
def test_every_example_and_suggestion_is_a_query(fields: FieldSet) -> None:
    shown = [f"{field.key}:{one}" for field in fields.fields for one in (*field.examples, *field.values)]
    assert [] == [text for text in (*shown, *fields.suggestions()) if not isinstance(parse(text, fields), Query)]


@pytest.mark.parametrize("fields", [EVENTS, FAMILIES], ids=lambda fields: fields.name)
def test_every_field_has_one_place_where_its_value_stands(fields: FieldSet) -> None:
    assert [] == [field.key for field in fields.fields if [field.column, field.body, field.private].count("") != 2]


def test_two_fields_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        field_set("events", *EVENTS.fields, EVENTS.fields[0])


def test_every_type_is_some_kind_of_operation() -> None:
    assert set(OPS) == {op_of(name) for name in BY_TYPE}


def test_a_field_of_facts_is_looked_for_where_facts_have_it() -> None:
    assert all(
        re.search("reason", str(fact.__struct_fields__))
        for fact in BY_TYPE.values()
        if fact.CODE in types_with("reason")
    )
    assert types_with("ticket")
