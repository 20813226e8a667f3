"""Second factors as rules: what counts, what is used up, how long guessing waits, who has one and who must."""

from typing import Any

import pytest

from core import beginning, codes, enrolment, factor, subject, totp
from core.enrolment import Add, New, Outcome
from core.factor import Assertion, Code, Given, Proof, Recovery
from core.policy import DASHBOARD, SECOND
from core.verdict import Verdict
from events import factor as past
from events.decision import Decision
from events.private import Account
from events.subject import SubjectLoginSucceeded
from tests.given import (
    ALICE,
    START,
    Past,
    Then,
    Told,
    a_begin,
    a_client,
    a_family,
    a_subject,
    fields_of,
    given,
    numbered,
    outcome,
    seen,
    sub,
    summary,
)

HASHES = tuple(codes.hashed(codes.written(bytes([number] * codes.BYTES))) or "" for number in range(10))
PHONE = Account(device="Phone", wrapped="wrapped-secret")
KEY = Account(device="Key", credential="Y3JlZA", public_key="a2V5")
HOME = "home@1"
OWN = numbered(7)


def added(kind: str = "totp", named: str = "phone", account: Account = PHONE, **more: Any) -> Told:
    fact = past.SubjectFactorAdded(actor="subject", subject=sub(), factor=named, kind=kind, **more)
    return Told(ALICE, fact, account=account)


def has_codes() -> Told:
    made = past.SubjectRecoveryCodesMade(actor="subject", subject=sub(), count=10)
    return Told(ALICE, made, account=Account(secret=" ".join(HASHES)))


def known(network: str = HOME) -> Told:
    return Told(ALICE, SubjectLoginSucceeded(actor="subject", subject=sub(), client=DASHBOARD, network_tag=network))


def world(*told: Told) -> Past:
    return given(a_client(), a_client(DASHBOARD), a_subject(roles="admin"), *told)


READY = world(added(step=100), added("passkey", "key", KEY, counter=5), has_codes(), known())
"""Alice is an admin with an app, a passkey and ten recovery codes, and signs in from home."""


def proof(given_: Given, ceremony: str = "one", **more: Any) -> Proof:
    return Proof(given_, ceremony, factor.SIGN_IN, **more)


def sign_in(before: Past, with_: Proof | None, after: float = 60, network: str = "home", **more: Any) -> Then:
    command = a_begin(client=DASHBOARD, proof=with_, tags=seen(network=network), **more)
    return before.when(beginning.begin(command), after)


def signed_in(before: Past, with_: Proof, after: float = 60, network: str = "home", number: int = 1) -> Past:
    command = a_begin(number, client=DASHBOARD, proof=with_, tags=seen(network=network))
    return before.and_then(beginning.begin(command), after)


def guessing(before: Past, tries: int, network: str = HOME, kind: str = "totp", after: float = 60) -> Past:
    for _ in range(tries):
        before = before.and_then(factor.fail(ALICE, DASHBOARD, kind, "wrong", network), after)
    return before


def amr_of(then: Then) -> tuple[str, str]:
    issued = next(fact for fact in then.facts if fact.TYPE == "token.issued")
    return issued.amr, issued.acr  # type: ignore[attr-defined]


# What a sign-in needs


def test_whoever_has_a_factor_begins_nothing_with_the_password_alone() -> None:
    assert (Verdict.FACTOR, []) == summary(sign_in(READY, None))


def test_whoever_has_none_signs_in_as_before() -> None:
    then = sign_in(world(known()), None)

    assert (Verdict.BEGUN, ["token.issued"]) == summary(then)
    assert ("pwd", "") == amr_of(then)


def test_applications_ask_for_no_second_factor_and_take_none() -> None:
    assert Verdict.BEGUN is READY.when(beginning.begin(a_begin())).verdict.verdict
    assert Verdict.FACTOR is READY.when(beginning.begin(a_begin(proof=proof(Code("phone", 101))))).verdict.verdict


@pytest.mark.parametrize(
    ("with_", "said"),
    [
        (proof(Code("phone", 101)), ("pwd otp", "aal2")),
        (proof(Assertion("key", 6, verified=False)), ("pwd hwk", "aal2")),
        (proof(Assertion("key", 6, verified=True), alone=True), ("hwk mfa", "aal2")),
        (proof(Recovery(HASHES[0])), ("pwd otp", "aal2")),
    ],
)
def test_a_session_says_how_it_was_begun(with_: Proof, said: tuple[str, str]) -> None:
    then = sign_in(READY, with_)

    assert Verdict.BEGUN is then.verdict.verdict
    assert said == amr_of(then)


def test_a_synced_passkey_is_a_key_in_software() -> None:
    synced = world(added("passkey", "key", KEY, synced=True))

    assert ("pwd swk", "aal2") == amr_of(sign_in(synced, proof(Assertion("key", 0, verified=True))))


# What is used up


def test_a_code_and_all_before_it_are_used_up() -> None:
    after = signed_in(READY, proof(Code("phone", 101)))

    for step in (101, 100, 99):
        then = sign_in(after, proof(Code("phone", step), "two"), 70)
        assert (Verdict.FACTOR, ["subject.factor_failed"]) == summary(then)
        assert "replayed" == then.facts[0].reason  # type: ignore[attr-defined]
    assert Verdict.BEGUN is sign_in(after, proof(Code("phone", 102), "two"), 90).verdict.verdict


def test_the_code_that_proved_the_app_is_used_up() -> None:
    assert Verdict.FACTOR is sign_in(READY, proof(Code("phone", 100))).verdict.verdict


def test_a_recovery_code_works_once() -> None:
    after = signed_in(READY, proof(Recovery(HASHES[2])))

    assert 9 == after.subject().second.left
    assert (Verdict.FACTOR, ["subject.factor_failed"]) == summary(sign_in(after, proof(Recovery(HASHES[2]), "two")))
    assert Verdict.BEGUN is sign_in(after, proof(Recovery(HASHES[3]), "two")).verdict.verdict


def test_a_passkey_that_counts_backwards_or_not_at_all_is_refused_and_written_down() -> None:
    for counter in (5, 4, 0):
        then = sign_in(READY, proof(Assertion("key", counter, verified=True)))
        assert (Verdict.FACTOR, ["subject.factor_failed"]) == summary(then)
        assert "cloned" == then.facts[0].reason  # type: ignore[attr-defined]


def test_a_passkey_that_never_counts_is_taken() -> None:
    synced = world(added("passkey", "key", KEY, synced=True))
    once = signed_in(synced, proof(Assertion("key", 0, verified=True)))

    assert Verdict.BEGUN is sign_in(once, proof(Assertion("key", 0, verified=True), "two")).verdict.verdict


def test_an_attempt_is_carried_through_once_whatever_comes_with_it() -> None:
    once = signed_in(READY, proof(Assertion("key", 6, verified=True), "this"))

    assert (Verdict.STALE, []) == summary(sign_in(once, proof(Assertion("key", 7, verified=True), "this"), 61))
    assert Verdict.BEGUN is sign_in(once, proof(Assertion("key", 7, verified=True), "that"), 61).verdict.verdict


def test_what_was_carried_through_is_forgotten_when_it_cannot_come_again() -> None:
    before = READY
    for number in range(1, 6):
        used = proof(Assertion("key", 5 + number, verified=True), f"attempt-{number}")
        before = signed_in(before, used, after=number * 400, number=number)

    assert ["attempt-4", "attempt-5"] == [ceremony for ceremony, _ in before.subject().second.spent]


# A passkey alone


def test_alone_a_passkey_must_know_its_owner_and_nothing_else_will_do() -> None:
    alone: list[Given] = [Assertion("key", 6, verified=False), Code("phone", 101), Recovery(HASHES[0])]

    assert [Verdict.FACTOR] * 3 == [sign_in(READY, proof(one, alone=True)).verdict.verdict for one in alone]


def test_wrong_passwords_of_others_do_not_make_a_passkey_wait() -> None:
    away = READY
    for _ in range(10):
        away = away.and_then(subject.fail(ALICE, DASHBOARD, "cafe@1"), 50)
    key = Assertion("key", 6, verified=True)

    assert Verdict.BLOCKED is sign_in(away, proof(key), network="cafe").verdict.verdict
    assert Verdict.BEGUN is sign_in(away, proof(key, alone=True), network="cafe").verdict.verdict


# Guessing


def test_five_wrong_codes_make_codes_wait_and_each_more_makes_them_wait_longer() -> None:
    four, five = guessing(READY, 4), guessing(READY, 5)

    assert Verdict.BEGUN is sign_in(four, proof(Code("phone", 101))).verdict.verdict
    assert Verdict.THROTTLED is sign_in(five, proof(Code("phone", 101)), 89).verdict.verdict
    assert Verdict.BEGUN is sign_in(five, proof(Code("phone", 101)), 90).verdict.verdict
    assert [0, 30, 60, 120, 240, 480, 900, 900] == [factor.block_after(count) for count in range(4, 12)]


def test_while_codes_wait_nothing_is_counted() -> None:
    five = guessing(READY, 5)

    assert (Verdict.THROTTLED, []) == outcome(five.when(factor.fail(ALICE, DASHBOARD, "totp", "wrong", HOME), 70))


def test_who_guesses_from_elsewhere_keeps_nobody_out_at_home() -> None:
    attacked = guessing(READY, 5, "cafe@1")

    assert Verdict.THROTTLED is sign_in(attacked, proof(Code("phone", 101)), 70, "hotel").verdict.verdict
    assert Verdict.BEGUN is sign_in(attacked, proof(Code("phone", 101)), 70).verdict.verdict


def test_a_recovery_code_and_a_passkey_never_wait() -> None:
    attacked = guessing(guessing(READY, 5), 5, "cafe@1")

    for with_ in (Recovery(HASHES[0]), Assertion("key", 6, verified=False)):
        assert Verdict.BEGUN is sign_in(attacked, proof(with_), 61, "cafe").verdict.verdict


def test_a_factor_that_fits_ends_the_row_of_wrong_ones() -> None:
    after = signed_in(guessing(READY, 4), proof(Code("phone", 101)))

    assert (0, 0) == after.subject().second.failures
    kinds = ("totp", "recovery")
    again = [after.when(factor.fail(ALICE, DASHBOARD, kind, "wrong", HOME)).facts[0] for kind in kinds]
    assert [1, 0] == [fields_of(one, "failures")["failures"] for one in again]


# Having one


def add(before: Past, new: New, **more: Any) -> Then:
    begin = a_begin(1, client=DASHBOARD, replaces=OWN, **more)
    return before.when(enrolment.add(Add(begin, new, HASHES)), 60)


def with_sessions(*told: Told) -> Past:
    sessions = [
        a_family(one, name=name) for one, name in ((OWN, DASHBOARD), (numbered(8), DASHBOARD), (numbered(9), "web"))
    ]
    return world(*told, *sessions)


def test_the_first_factor_brings_recovery_codes_and_ends_the_other_sessions_at_the_dashboard() -> None:
    then = add(with_sessions(), New("phone", "totp", PHONE, key=1, step=100), amr="pwd otp", acr="aal2")

    assert (Outcome.DONE, True) == (then.verdict.outcome, then.verdict.codes)
    assert ["subject.factor_added", "subject.recovery_codes_made"] == then.of(ALICE)
    ended = {c.stream: c.fact.reason for c in then.changes if c.fact.TYPE == "family.revoked"}  # type: ignore[attr-defined]
    assert {numbered(8): "factor_added", OWN: "replaced"} == ended
    assert ("pwd otp", "aal2") == amr_of(then)


def test_a_further_one_keeps_the_recovery_codes() -> None:
    then = add(with_sessions(added(), has_codes()), New("key", "passkey", KEY))

    assert (Outcome.DONE, False) == (then.verdict.outcome, then.verdict.codes)
    assert ["subject.factor_added"] == then.of(ALICE)


def test_a_second_app_and_a_passkey_that_is_there_are_not_added() -> None:
    there = with_sessions(added(), added("passkey", "key", KEY))

    for new in (New("other", "totp", PHONE), New("again", "passkey", KEY)):
        assert (Outcome.EXISTS, ()) == (add(there, new).verdict.outcome, add(there, new).changes)


def test_there_are_at_most_so_many() -> None:
    keys = [added("passkey", f"key-{n}", Account(credential=f"id-{n}", public_key="k")) for n in range(enrolment.MOST)]

    assert Outcome.FULL is add(with_sessions(*keys), New("more", "passkey", KEY)).verdict.outcome


def test_a_session_that_ended_meanwhile_adds_nothing() -> None:
    assert Outcome.UNKNOWN is add(world(), New("phone", "totp", PHONE)).verdict.outcome


def test_a_password_that_was_changed_meanwhile_adds_nothing() -> None:
    assert Outcome.UNKNOWN is add(with_sessions(), New("phone", "totp", PHONE), password_version=7).verdict.outcome


def test_taking_the_last_one_away_takes_the_recovery_codes_with_it() -> None:
    one = world(added(), has_codes()).and_then(enrolment.remove(ALICE, "phone", frozenset()), 60)

    assert ((), 0) == (one.subject().second.held, one.subject().second.left)
    assert "" == one.subject().factors


def test_a_role_that_asks_for_one_keeps_the_last_one() -> None:
    required = frozenset({"admin"})
    two = world(added(), added("passkey", "key", KEY))

    assert Outcome.DONE is two.when(enrolment.remove(ALICE, "phone", required)).verdict
    assert Outcome.LAST is world(added()).when(enrolment.remove(ALICE, "phone", required)).verdict
    assert Outcome.DONE is world(added()).when(enrolment.remove(ALICE, "phone", frozenset({"viewer"}))).verdict
    assert Outcome.UNKNOWN is two.when(enrolment.remove(ALICE, "other", required)).verdict


def test_a_reset_takes_all_away_and_ends_every_session_at_the_dashboard() -> None:
    before = with_sessions(added(), added("passkey", "key", KEY), has_codes())
    then = before.when(enrolment.reset(ALICE, "staff:sub_x", "lost_device", "INC-1", "called back"), 60)
    after = before.and_then(enrolment.reset(ALICE, "cli", "lost_device"), 60)

    assert Outcome.DONE is then.verdict
    assert ["subject.factor_removed"] * 2 == then.of(ALICE)
    assert {OWN, numbered(8)} == {c.stream for c in then.changes if c.fact.TYPE == "family.revoked"}
    assert "" == after.subject().factors
    assert Outcome.UNCHANGED is after.when(enrolment.reset(ALICE, "cli", "lost_device")).verdict


def test_recovery_codes_stand_in_for_a_factor_so_they_need_one() -> None:
    assert Outcome.UNKNOWN is world().when(enrolment.make_codes(ALICE, HASHES)).verdict
    assert Outcome.DONE is world(added()).when(enrolment.make_codes(ALICE, HASHES)).verdict


def test_who_must_have_one() -> None:
    admin, with_one = world().subject(), world(added()).subject()

    assert [True, False, False] == [
        factor.must_enrol(admin, frozenset({"admin"})),
        factor.must_enrol(admin, frozenset({"viewer"})),
        factor.must_enrol(with_one, frozenset({"admin"})),
    ]


def test_what_a_fold_says_of_nobody_takes_no_room() -> None:
    assert "" == past.after(
        "", START, past.SubjectFactorAsked(actor="subject", subject=sub(), client=DASHBOARD), Account()
    )


def test_a_question_is_written_down() -> None:
    then = READY.when(factor.ask(ALICE, DASHBOARD, HOME))

    assert ["subject.factor_asked"] == then.types
    assert isinstance(factor.ask(numbered(3), DASHBOARD, HOME)(_unknown(), _moment()), Decision)


def _unknown() -> Any:
    states = world().states()
    states.by_stream[numbered(3)] = None
    return states


def _moment() -> Any:
    from events.decision import Moment

    return Moment(START, START, START, 0)


# Codes

RFC_SECRET = b"12345678901234567890"
VECTORS = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
"""RFC 6238, appendix B, SHA-1. It prints eight digits; six are their end."""


@pytest.mark.parametrize(("at", "code"), VECTORS.items())
def test_one_time_codes_are_those_of_the_rfc(at: int, code: str) -> None:
    assert at // 30 == totp.step_of(code[-6:], RFC_SECRET, at)


def test_one_step_of_drift_is_taken_and_no_more() -> None:
    at, code = 1234567890, "005924"

    assert [None, at // 30, at // 30, at // 30, None] == [
        totp.step_of(code, RFC_SECRET, at + 30 * drift) for drift in (-2, -1, 0, 1, 2)
    ]


@pytest.mark.parametrize("typed", ["", "5924", "0005924", "005924x", "\ud800", "٠٠٥٩٢٤"])
def test_what_is_no_code_fits_nothing(typed: str) -> None:
    assert totp.step_of(typed, RFC_SECRET, 1234567890) is None


def test_a_recovery_code_is_read_however_it_is_grouped() -> None:
    written = codes.written(bytes(range(15)))

    assert 27 == len(written)
    assert 1 == len({codes.hashed(one) for one in (written, written.upper(), written.replace("-", ""), f" {written} ")})
    assert [None] * 4 == [codes.hashed(one) for one in ("", written[:-1], written + "a", "0" * 24)]


def test_seconds_left_are_rounded_up() -> None:
    five = guessing(READY, 5).subject()

    assert [30, 1, 0] == [factor.wait(five, HOME, START + round(at * SECOND)) for at in (60, 89.5, 90)]
