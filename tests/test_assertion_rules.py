"""The rules of a family that a backend begins, and where a repeated request looks for it. No database."""

from typing import Any

import pytest

from core import assertion, repeat
from core.assertion import Assert, Assertion, Outcome
from core.family import refresh
from core.policy import SECOND
from core.repeat import MEMORY, WINDOW, Asked, Place
from core.token import hash_nonce
from core.verdict import Verdict
from events import client, family, subject
from tests.given import (
    ALICE,
    BOB,
    DEFAULTS,
    START,
    WEB,
    Past,
    Then,
    Told,
    a_begin,
    a_client,
    a_family,
    a_refresh,
    a_subject,
    fields_of,
    given,
    numbered,
    sub,
)

NONCE = b"nonce-of-backend"
READY = given(a_client(), a_subject())


def at(number: int, nonce: bytes = NONCE) -> Place:
    return Place(numbered(number), nonce, 1)


def an_assertion(number: int = 1, before: tuple[Place, ...] = (), **more: Any) -> Assert:
    """The backend says that this is Alice."""
    fields: dict[str, Any] = {"actor": "client:web", "password_version": 0, "nonce": hash_nonce(NONCE)}
    return Assert(a_begin(number, **fields | more), at(number), before)


def asserted(past: Past, command: Assert, after: float = 60) -> Then:
    return past.when(assertion.begin_for(command), after)


def told(then: Then) -> tuple[Outcome, list[str]]:
    assert isinstance(then.verdict, Assertion)
    return then.verdict.outcome, then.types


def test_a_family_begins_in_the_name_of_the_backend_without_a_password() -> None:
    then = asserted(READY, an_assertion(amr="otp", acr="gold", auth_time=1_700_000_000))

    assert (Outcome.BEGUN, ["token.issued"]) == told(then)
    assert {"actor": "client:web", "amr": "otp", "acr": "gold", "auth_time": 1_700_000_000, "generation": 1} == (
        fields_of(then.facts[0], "actor", "amr", "acr", "auth_time")
        | {"generation": then.verdict.answer.family.generation}
    )


def test_the_time_of_the_authentication_is_now_unless_it_is_said() -> None:
    assert {"auth_time": START // SECOND + 60} == fields_of(asserted(READY, an_assertion()).facts[0], "auth_time")


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        (given(a_client()), Outcome.UNKNOWN),
        (given(a_client(), a_subject(roles="viewer")), Outcome.STAFF),
        (given(a_subject()), Outcome.CLIENT),
        (Past((*READY.told, Told(WEB, client.ClientDisabled(actor="cli", client="web")))), Outcome.CLIENT),
        (
            Past((*READY.told, Told(ALICE, subject.SubjectDisabled(actor="cli", subject=sub(), reason="left")))),
            Outcome.DISABLED,
        ),
    ],
    ids=["no subject", "staff", "no client", "client disabled", "subject disabled"],
)
def test_who_cannot_have_a_family_gets_none(before: Past, outcome: Outcome) -> None:
    assert (outcome, []) == told(asserted(before, an_assertion()))


def test_the_dashboard_is_for_nobody_here_whatever_was_asked() -> None:
    before = given(a_client("dashboard"), a_subject())

    assert (Outcome.CLIENT, []) == told(asserted(before, an_assertion(client="dashboard")))


def test_a_blocked_name_does_not_hinder_a_backend_that_authenticates_in_another_way() -> None:
    blocked = subject.SubjectLoginBlocked(actor="policy", subject=sub(), client="web", until=START + 900 * SECOND)

    assert Outcome.BEGUN == told(asserted(Past((*READY.told, Told(ALICE, blocked))), an_assertion()))[0]


# The same request again


BEGUN = READY.and_then(assertion.begin_for(an_assertion()), 60)


def test_the_same_request_finds_its_family_and_writes_nothing() -> None:
    then = asserted(BEGUN, an_assertion(2, (at(2), at(1))), 90)

    assert (Outcome.REPEATED, []) == told(then)
    first = asserted(READY, an_assertion()).verdict.answer
    assert (at(1), first) == (then.verdict.place, then.verdict.answer._replace(reason="", ended=first.ended))


def test_another_request_with_the_same_key_is_noticed() -> None:
    assert (Outcome.OTHER, []) == told(asserted(BEGUN, an_assertion(2, (at(1, b"nonce of another"),)), 90))


def test_what_was_used_ended_or_lapsed_is_not_told_again() -> None:
    again = an_assertion(2, (at(1),))
    token = a_refresh(stream=numbered(1)).token._replace(nonce=NONCE)
    used = BEGUN.and_then(refresh(a_refresh(stream=numbered(1))._replace(token=token)), 70)
    ended = family.FamilyRevoked(actor="subject", subject=sub(), client="web", reason="logout")
    gone = Past((*BEGUN.told, Told(numbered(1), ended, 70)))

    assert (Outcome.USED, []) == told(asserted(used, again, 90))
    assert (Outcome.ENDED, []) == told(asserted(gone, again, 90))
    assert (Outcome.ENDED, []) == told(asserted(BEGUN, again, 61 + DEFAULTS.idle_ttl))


# Step-up


def test_a_step_up_revokes_the_one_and_begins_the_other_in_one_decision() -> None:
    then = asserted(BEGUN, an_assertion(2, replaces=numbered(1)))

    assert (Outcome.BEGUN, ["family.revoked", "token.issued"]) == told(then)
    assert {"actor": "client:web", "reason": "replaced"} == fields_of(then.facts[0], "actor", "reason")
    assert Verdict.BEGUN == then.verdict.answer.verdict


@pytest.mark.parametrize(
    "other",
    [a_family(numbered(9), BOB), a_family(numbered(9), ALICE, "mobile")],
    ids=["of another user", "of another client"],
)
def test_only_a_family_of_the_same_user_and_client_is_replaced(other: Told) -> None:
    before = Past((*READY.told, a_client("mobile"), a_subject(BOB, "bob"), other))

    assert (Outcome.NOT_REPLACED, []) == told(asserted(before, an_assertion(replaces=numbered(9))))


def test_a_family_that_has_lapsed_is_not_replaced() -> None:
    late = 61 + DEFAULTS.idle_ttl

    assert (Outcome.ENDED, []) == told(asserted(BEGUN, an_assertion(2, replaces=numbered(1)), late))


def test_the_limit_of_families_holds_for_backends_too() -> None:
    limited = given(a_client(family_limit=2), a_subject(), a_family(numbered(1)), a_family(numbered(2), after=1))

    then = asserted(limited, an_assertion(3))

    assert ["family.revoked"] == then.of(numbered(1))
    assert [] == then.of(numbered(2))


# Where the family of a request is


SECRET = b"s" * 32
ASKED = Asked("shop", "6f1c", b"{}")


@pytest.mark.parametrize("later", [0, WINDOW - 1, WINDOW, MEMORY // 2, MEMORY - WINDOW, MEMORY])
def test_within_a_day_the_place_is_found_again(later: int) -> None:
    begun = START + 12_345
    first = repeat.place(SECRET, 1, ASKED, begun)

    assert first in set(repeat.places(SECRET, 1, ASKED, begun + later))


def test_a_process_whose_clock_is_behind_finds_it_too() -> None:
    first = repeat.place(SECRET, 1, ASKED, START + WINDOW)

    assert first in set(repeat.places(SECRET, 1, ASKED, START + WINDOW - 1))


def test_after_a_day_it_is_not_found() -> None:
    assert repeat.place(SECRET, 1, ASKED, START) not in set(
        repeat.places(SECRET, 1, ASKED, START + MEMORY + 2 * WINDOW)
    )


def test_client_key_and_secret_say_where_and_the_body_only_what() -> None:
    first = repeat.place(SECRET, 1, ASKED, START)
    body = repeat.place(SECRET, 1, ASKED._replace(body=b"{1}"), START)
    others = [
        repeat.place(SECRET, 1, ASKED._replace(client="shop2"), START),
        repeat.place(SECRET, 1, ASKED._replace(key="6f1d"), START),
        repeat.place(b"t" * 32, 1, ASKED, START),
    ]

    assert first.family == body.family
    assert first.nonce != body.nonce
    assert 4 == len({first.family, *(one.family for one in others)})
    assert 4 == len({first.nonce, *(one.nonce for one in others)})
