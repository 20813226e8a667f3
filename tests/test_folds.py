"""Facts and folds, whatever the facts: folding is total, state stays small, bodies are one text each."""

import json
from collections.abc import Iterable
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import catalogue, fact, ids, private, projections, subject
from events.catalogue import NOUNS, Noun
from events.fact import Fact
from events.family import Family, TokenIssued, TokenRefused, TokenRotated, begin, evolve, refused_in_minute
from events.private import Account, Context

NUMBERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
WORDS = st.text(st.characters(codec="utf-8"), max_size=40)
STREAMS = st.binary(min_size=16, max_size=16)
ACCOUNTS = st.builds(Account, *[WORDS] * len(Account.__struct_fields__))
REASONS = ["client", "revoked", "expired", "ahead", "carriage", "device_changed", "network_changed"]
ALICE = ids.to_text("sub", bytes(16))
LARGEST_FAMILY = 1_000
"""Bytes of a family's state, packed; it must not grow with use."""


def values_of(kind: type[Fact], name: str) -> st.SearchStrategy[Any]:
    """Values that a field of a fact may have, by its type; ids where it holds an id."""
    if name in {"subject", "replaces"}:
        prefix = "sub" if name == "subject" else "fam"
        return STREAMS.map(lambda stream: ids.to_text(prefix, stream))
    hint = get_type_hints(kind)[name]
    known = {int: NUMBERS, str: WORDS, bool: st.booleans()}
    if get_origin(hint) is not None:
        return st.one_of(*(known[one] for one in get_args(hint)))
    return known[hint]


def one_of(kinds: Iterable[type[Fact]]) -> st.SearchStrategy[Fact]:
    return st.one_of(*(facts_of(kind) for kind in kinds))


def facts_of(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    return st.builds(kind, **{name: values_of(kind, name) for name in kind.__struct_fields__})


ANY_FACT = one_of(catalogue.FACTS)


@st.composite
def stories(draw: st.DrawFn, noun: Noun) -> list[Any]:
    """States of one stream, from its opening through any changes in any order."""
    stream, at = draw(STREAMS), draw(st.integers(0, 2**50))
    states = [catalogue.apply(None, stream, at, draw(one_of(noun.openings)), draw(ACCOUNTS))]
    for change in draw(st.lists(one_of(noun.changes), max_size=12)):
        at += draw(st.integers(0, 2**40))
        states.append(catalogue.apply(states[-1], stream, at, change, draw(ACCOUNTS)))
    return states


# Bodies


@given(ANY_FACT)
def test_every_fact_is_read_back_as_it_was_written(stated: Fact) -> None:
    assert stated == catalogue.decode(stated.CODE, fact.encode(stated))


@given(ANY_FACT)
def test_a_body_is_compact_json_with_sorted_keys_and_no_fractions(stated: Fact) -> None:
    body = fact.encode(stated)
    read = json.loads(body, parse_float=lambda text: pytest.fail(f"a fraction: {text}"))

    assert body == json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert all(isinstance(value, int | str) for value in read.values())


@given(ANY_FACT)
def test_a_body_leaves_out_what_is_as_usual(stated: Fact) -> None:
    read = json.loads(fact.encode(stated))
    defaults = zip(stated.__struct_fields__, type(stated).__struct_defaults__, strict=False)

    assert "actor" in read
    assert set(read) <= set(stated.__struct_fields__)
    assert all(read.get(name) != default for name, default in defaults if default is not msgspec.NODEFAULT and default)


@pytest.mark.parametrize("kind", catalogue.FACTS, ids=lambda kind: kind.TYPE)
def test_an_unknown_field_is_not_read_as_if_it_were_not_there(kind: type[Fact]) -> None:
    with pytest.raises(msgspec.ValidationError):
        catalogue.decode(kind.CODE, b'{"actor":"x","more":1}')


def test_every_code_and_every_type_names_one_fact() -> None:
    assert len(catalogue.FACTS) == len(catalogue.BY_CODE) == len(catalogue.BY_TYPE)
    assert all(kind.__doc__ and not kind.__doc__.startswith("Something") for kind in catalogue.FACTS)


# Folds


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_any_facts_in_any_order_fold_into_a_state(noun: Noun) -> None:
    @settings(max_examples=40, deadline=None)
    @given(stories(noun))
    def check(states: list[Any]) -> None:
        assert [*range(1, len(states) + 1)] == [state.version for state in states]
        assert {(noun.state, states[0].id)} == {(type(state), state.id) for state in states}

    check()


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_a_stream_begins_once_and_never_with_a_change(noun: Noun) -> None:
    only_first = [kind for kind in noun.openings if kind not in noun.changes]
    only_later = [kind for kind in noun.changes if kind not in noun.openings]

    @settings(max_examples=10, deadline=None)
    @given(stories(noun), one_of(only_first), one_of(only_later))
    def check(states: list[Any], opening: Fact, change: Fact) -> None:
        with pytest.raises(catalogue.Illegal):
            catalogue.apply(states[-1], states[-1].id, 0, opening, Account())
        with pytest.raises(catalogue.Illegal):
            catalogue.apply(None, states[-1].id, 0, change, Account())

    check()


@settings(deadline=None)
@given(stories(catalogue.FAMILY))
def test_a_family_that_has_ended_stays_ended_for_the_reason_it_ended(states: list[Any]) -> None:
    ended = [state for state in states if not state.living]

    assert ended == states[len(states) - len(ended) :]
    assert len({(s.status, s.ended_at, s.ended_by, s.ended_reason) for s in ended}) <= 1


@settings(deadline=None)
@given(stories(catalogue.FAMILY))
def test_what_a_family_was_begun_with_never_changes(states: list[Any]) -> None:
    assert 1 == len({(s.subject, s.client, s.nonce, s.carriage, s.started_at, s.ends_at, s.auth_time) for s in states})


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(REASONS), st.integers(0, 10**6)), min_size=50, max_size=200))
def test_a_family_is_as_small_after_any_number_of_refusals(refusals: list[tuple[str, int]]) -> None:
    state, at = _begun(), 0
    for reason, seconds in refusals:
        at += seconds * 1_000_000
        refused = TokenRefused(actor="subject", subject=ALICE, client="web", generation=1, reason=reason)
        state = evolve(state, at, refused, Account())
        assert refused_in_minute(state, reason, at)

    assert len(msgspec.msgpack.encode(msgspec.structs.astuple(state))) < LARGEST_FAMILY


def test_a_family_is_as_small_after_ten_thousand_rotations() -> None:
    state = before = _begun()
    for generation in range(2, 10_002):
        rotated = TokenRotated(
            actor="subject",
            subject=ALICE,
            client="web",
            generation=generation,
            jti="j" * 22,
            exp=generation,
            idle_until=generation,
        )
        state = evolve(state, generation, rotated, Account())

    grown = len(msgspec.msgpack.encode(msgspec.structs.astuple(state)))
    assert grown <= len(msgspec.msgpack.encode(msgspec.structs.astuple(before))) + 32


@settings(deadline=None)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=11), min_size=5, max_size=30))
def test_a_subject_remembers_few_networks_newest_first(tags: list[str]) -> None:
    registered = subject.SubjectRegistered(actor="cli", subject=ALICE)
    state = catalogue.apply(None, b"\0" * 16, 0, registered, Account(name="alice"))
    for tag in tags:
        success = subject.SubjectLoginSucceeded(
            actor="subject", subject=registered.subject, client="web", network_tag=tag
        )
        state = catalogue.apply(state, state.id, 0, success, Account())
    assert isinstance(state, subject.Subject)

    newest = list(dict.fromkeys(reversed(tags)))[: subject.KNOWN_NETWORKS]
    assert newest == state.networks.split()


def _begun() -> Family:
    issued = TokenIssued(
        actor="subject",
        subject=ALICE,
        client="web",
        key=1,
        nonce="n" * 43,
        carriage="cookie",
        jti="j" * 22,
        exp=1,
        idle_until=2**50,
        ends_at=2**51,
        auth_time=1,
        amr="pwd",
        device_tag="d" * 11,
        network_tag="n" * 11,
    )
    return begin(bytes(16), 1, issued, Account())


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_a_projection_has_one_column_for_each_field_of_its_state(noun: Noun) -> None:
    assert [*noun.state.__struct_fields__] == [column.name for column in projections.TABLES[noun.state].columns]


# Private rows


@given(WORDS, WORDS, st.binary(min_size=16, max_size=16))
def test_a_private_row_is_read_back_and_bound_to_its_bytes_and_salt(ip: str, agent: str, salt: bytes) -> None:
    data = private.encode(Context(ip, agent))

    assert Context(ip, agent) == private.decode_context(data)
    assert private.binding(salt, data) != private.binding(salt, data + b" ")
    assert private.binding(salt, data) != private.binding(bytes(16) if any(salt) else b"\1" * 16, data)


def test_what_was_deleted_reads_as_nothing_known() -> None:
    assert (Context(), Account()) == (private.decode_context(None), private.decode_account(None))
