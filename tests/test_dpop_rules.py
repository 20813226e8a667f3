"""The rules of families that are bound to a key, as a specification: given facts, a decision, verdict and facts."""

from typing import Any

import pytest

from core import beginning, family
from core.dpop import Proof
from core.once import once, spend
from core.verdict import Answer, Tags, Verdict
from events.client import CONFIDENTIAL, REQUIRED
from events.decision import Decision, Use
from tests.given import (
    FAMILY,
    Past,
    Then,
    a_begin,
    a_client,
    a_family,
    a_refresh,
    a_subject,
    given,
    numbered,
    seen,
    summary,
)

KEY, OTHER = "k" * 43, "o" * 43
USE = Use(b"u" * 32, 10)


def a_proof(jkt: str = KEY, value: bytes = b"p" * 32) -> Proof:
    return Proof(jkt, Use(value, 2_000_000_000_000_000))


def bound(**client: Any) -> Past:
    """Alice's family, bound to KEY."""
    return given(a_client(**client), a_subject(), a_family(jkt=KEY, device_tag="bound@1"))


def used(past: Past, after: float = 60, generation: int = 1, proof: Proof | None = None, **more: Any) -> Then:
    command = a_refresh(generation, proof=proof, bound=seen("bound"), **more)
    return past.when(family.refresh(command), after)


def test_the_holder_of_the_key_goes_on_with_a_bound_access_token() -> None:
    then = used(bound(), proof=a_proof())

    assert (Verdict.ROTATED, ["token.rotated"]) == summary(then)
    assert KEY == then.verdict.jkt == then.verdict.family.jkt


@pytest.mark.parametrize(
    ("proof", "verdict", "reason"),
    [(None, Verdict.PROOF, "dpop_missing"), (a_proof(OTHER), Verdict.REFUSED, "dpop_key")],
    ids=["none", "another"],
)
@pytest.mark.parametrize("generation", [1, 2, 3], ids=["used", "current", "ahead"])
def test_a_stolen_token_without_the_key_is_refused_written_down_and_uses_nothing_up(
    proof: Proof | None, verdict: Verdict, reason: str, generation: int
) -> None:
    past = bound().and_then(family.refresh(a_refresh(1, proof=a_proof(), bound=seen("bound"))), 30)

    then = used(past, 600, generation, proof)

    assert (verdict, ["token.refused"]) == summary(then)
    assert reason == then.verdict.reason == then.facts[0].reason  # type: ignore[attr-defined]
    assert then.verdict.family.living
    assert then.verdict.family.generation == 2
    assert "" == then.verdict.jkt


def test_the_holder_s_own_reuse_is_still_a_theft_alarm() -> None:
    past = bound().and_then(family.refresh(a_refresh(1, proof=a_proof(), bound=seen("bound"))), 30)

    then = used(past, 600, 1, a_proof(value=b"q" * 32))

    assert (Verdict.REUSED, ["token.reuse_detected", "family.revoked"]) == summary(then)


def test_an_honest_retry_with_a_new_proof_gets_the_same_successor() -> None:
    past = bound().and_then(family.refresh(a_refresh(1, proof=a_proof(), bound=seen("bound"))), 30)

    then = used(past, 35, 1, a_proof(value=b"q" * 32))

    assert (Verdict.RETRIED, KEY) == (then.verdict.verdict, then.verdict.jkt)


def test_the_key_is_a_part_of_the_device() -> None:
    then = used(bound(on_device_change="revoke"), proof=a_proof())
    with_plain_tags = bound().when(family.refresh(a_refresh(1, proof=a_proof())), 60)

    assert ["token.rotated"] == then.types
    assert ["family.context_changed", "token.rotated"] == with_plain_tags.types


def test_a_proof_that_came_before_is_refused_and_ends_nothing() -> None:
    """The same request a second time, whoever sent it, proves nothing new: not even that a token was used twice."""
    past, proof = bound(), a_proof()
    states = past.states()
    rule = family.refresh(a_refresh(1, proof=proof, bound=seen("bound")))
    first = past.when(rule, 60)
    assert isinstance(first.verdict, Answer)

    later = past.and_then(rule, 60)
    replayed = _with_used(later, proof.use.value, 600)

    assert (Verdict.PROOF, ["token.refused"]) == summary(replayed)
    assert "dpop_replayed" == replayed.verdict.reason
    assert states.used == {}


def _with_used(past: Past, value: bytes, after: float) -> Then:
    def rule(states, moment):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        states.used[value] = True
        return family.refresh(a_refresh(1, proof=a_proof(), bound=seen("bound")))(states, moment)

    return past.when(rule, after)


def test_every_decision_on_a_genuine_token_uses_the_proof_up() -> None:
    for past, proof in ((bound(), a_proof()), (bound(), a_proof(OTHER)), (given(a_client(), a_subject()), a_proof())):
        decision = _decided(past, family.refresh(a_refresh(1, proof=proof)))
        known = decision.verdict.verdict is not Verdict.UNKNOWN
        assert ((proof.use,) if known else ()) == decision.uses


def _decided(past: Past, rule) -> Decision:  # type: ignore[no-untyped-def]  # noqa: ANN001
    kept: list[Decision] = []

    def noting(states, moment):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        found = rule(states, moment)
        kept.extend([found] if isinstance(found, Decision) else [])
        return found

    past.when(noting, 60)
    return kept[-1]


# Families that are bound to none


def test_a_public_client_s_unbound_family_stays_a_bearer_s() -> None:
    then = used(given(a_client(), a_subject(), a_family()), proof=a_proof())

    assert (Verdict.ROTATED, "") == (then.verdict.verdict, then.verdict.jkt)


def test_a_confidential_client_s_access_token_is_bound_to_the_key_that_it_proves() -> None:
    past = given(a_client("shop", type=CONFIDENTIAL), a_subject(), a_family(name="shop"))
    then = used(past, proof=a_proof(), client="shop")

    assert (Verdict.ROTATED, KEY, "") == (then.verdict.verdict, then.verdict.jkt, then.verdict.family.jkt)


def test_where_keys_are_required_an_unbound_family_of_a_public_client_ends() -> None:
    for proof in (None, a_proof()):
        then = used(given(a_client(dpop=REQUIRED), a_subject(), a_family()), proof=proof)
        assert (Verdict.REVOKED, ["family.revoked"]) == summary(then)
        assert "dpop_required" == then.facts[0].reason  # type: ignore[attr-defined]


def test_where_keys_are_required_a_confidential_client_must_prove_one() -> None:
    past = given(a_client("shop", type=CONFIDENTIAL, dpop=REQUIRED), a_subject(), a_family(name="shop"))

    assert (Verdict.PROOF, "dpop_missing") == used(past, client="shop").verdict[0:3:2]
    assert Verdict.ROTATED is used(past, client="shop", proof=a_proof()).verdict.verdict


def test_a_policy_never_hides_a_reuse() -> None:
    past = given(a_client(), a_subject(), a_family()).and_then(family.refresh(a_refresh(1)), 30)
    required = Past((a_client(dpop=REQUIRED), *past.told[0:1], *past.told[2:]))

    assert Verdict.REUSED is used(required, 600, 1).verdict.verdict


# Beginning


def test_a_family_begins_bound_to_the_key_that_is_given() -> None:
    then = given(a_client(dpop=REQUIRED), a_subject()).when(beginning.begin(a_begin(jkt=KEY)))

    assert Verdict.BEGUN is then.verdict.verdict
    assert (KEY, KEY) == (then.verdict.jkt, then.verdict.family.jkt)


def test_where_keys_are_required_none_begins_without() -> None:
    past = given(a_client(dpop=REQUIRED), a_subject())

    assert (Verdict.PROOF, []) == summary(past.when(beginning.begin(a_begin())))


def test_another_key_on_the_same_device_is_another_device_for_the_limit() -> None:
    tags = lambda number, _owner: Tags(f"laptop-with-key@{number}", "home@1")  # noqa: E731
    past = given(a_client(family_limit=1), a_subject()).and_then(beginning.begin(a_begin(1, jkt=KEY)))
    then = past.when(beginning.begin(a_begin(2, jkt=OTHER, tags=tags)), 5)

    assert ["family.revoked"] == then.of(numbered(1))
    assert FAMILY != numbered(1)


# What counts once


def test_a_value_is_spent_by_the_first_who_asks() -> None:
    rule, states = spend(USE), given().states()
    states.used[USE.value] = False
    first = rule(states, None)  # type: ignore[arg-type]
    states.used[USE.value] = True
    again = rule(states, None)  # type: ignore[arg-type]

    assert isinstance(first, Decision)
    assert isinstance(again, Decision)
    assert ((True, (USE,)), (False, ())) == ((first.verdict, first.uses), (again.verdict, again.uses))


def test_a_rule_under_once_is_not_even_asked_a_second_time() -> None:
    states = given().states()
    states.used[USE.value] = True
    found = once(USE, lambda _states, _moment: pytest.fail("asked"), "again")(states, None)  # type: ignore[arg-type]

    assert isinstance(found, Decision)
    assert "again" == found.verdict
