"""The rules of a subject: names, wrong passwords, roles, disabling; what ends with them, in one decision."""

from typing import Any

import pytest

from core import beginning, ending, family, subject
from core.judgement import end_of
from core.policy import SECOND, Policy
from core.subject import FREE_FAILURES, LONGEST_BLOCK, Outcome, Register
from core.verdict import Verdict
from events import client as apps
from tests.given import (
    ALICE,
    BOB,
    FAMILY,
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
    outcome,
    seen,
    sub,
    summary,
)

REGISTERED = given(a_client(), a_client("dashboard"), a_subject(), a_subject(BOB, "bob"))
PHONE = numbered(7)
SIGNED_IN = Past((*REGISTERED.told, a_family(), a_family(PHONE, after=1), a_family(numbered(8), BOB)))
"""Alice has two families, bob one."""


def failed(before: Past, times: int, network: str = "cafe", after: float = 10) -> Past:
    """So many wrong passwords in a row, a second apart."""
    for turn in range(times):
        before = before.and_then(subject.fail(ALICE, "web", f"{network}@1"), after + turn)
    return before


# Registering


def test_a_subject_is_registered_with_name_and_hash_in_its_private_row() -> None:
    then = given().when(subject.register(Register(ALICE, "alice", "hash-1", "viewer", "cli")))

    assert (Outcome.DONE, ["subject.registered"]) == outcome(then)
    assert ("alice", "hash-1") == (then.changes[0].account.name, then.changes[0].account.password)  # type: ignore[union-attr]
    assert {"subject": sub(), "roles": "viewer"} == fields_of(then.facts[0], "subject", "roles")


def test_a_name_belongs_to_one_subject() -> None:
    again = REGISTERED.when(subject.register(Register(numbered(3), "alice", "hash-2", "", "cli")))

    assert (Outcome.NAME_TAKEN, []) == outcome(again)


@pytest.mark.parametrize(
    ("typed", "same"), [("Alice", "alice"), ("ALICE", "alice"), ("stra\u00dfe", "strasse"), ("e\u0301va", "\u00e9va")]
)
def test_names_are_compared_without_case_and_in_one_form(typed: str, same: str) -> None:
    assert subject.compared(same) == subject.compared(typed)


@pytest.mark.parametrize(
    "name", ["", " alice", "alice ", "a" * 255, "a\nb", "a\x00b", "a\u202eb", "a\u2028b", "a\ud800b"]
)
def test_what_cannot_be_read_or_typed_again_is_no_name(name: str) -> None:
    assert not subject.acceptable(name)


@pytest.mark.parametrize("name", ["a", "a" * 254, "alice@example.test", "Ālice Müller", "爱丽丝"])
def test_names_may_be_in_any_script(name: str) -> None:
    assert subject.acceptable(name)


# Wrong passwords


def test_a_wrong_password_is_counted() -> None:
    then = REGISTERED.when(subject.fail(ALICE, "web", "cafe@1"), 10)

    assert (Outcome.DONE, ["subject.login_failed"]) == outcome(then)
    assert {"failures": 1, "network_tag": "cafe@1"} == fields_of(then.facts[0], "failures", "network_tag")


def test_nobody_is_counted() -> None:
    assert (Outcome.UNKNOWN, []) == outcome(given().when(subject.fail(ALICE, "web", "cafe@1"), 10))


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (9, 0), (10, 30), (11, 60), (14, 480), (15, 900), (1000, 900)]
)
def test_a_block_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    assert seconds == subject.block_after(failures)


def test_the_tenth_failure_in_a_row_blocks_unknown_networks() -> None:
    nine = failed(REGISTERED, FREE_FAILURES - 1)
    then = nine.when(subject.fail(ALICE, "web", "cafe@1"), 30)

    assert ["subject.login_failed", "subject.login_blocked"] == then.types
    assert {"until": START + 60 * SECOND} == fields_of(then.facts[1], "until")


def test_trying_on_while_blocked_is_not_counted_and_so_lengthens_nothing() -> None:
    blocked = failed(REGISTERED, FREE_FAILURES)
    then = blocked.when(subject.fail(ALICE, "web", "cafe@1"), 30)

    assert (Outcome.UNCHANGED, []) == outcome(then)


def test_a_known_network_is_counted_even_while_others_are_blocked() -> None:
    home = REGISTERED.and_then(beginning.begin(a_begin()), 1)
    blocked = failed(home, FREE_FAILURES)

    assert ["subject.login_failed", "subject.login_blocked"] == blocked.when(
        subject.fail(ALICE, "web", "home@1"), 30
    ).types


def test_a_victim_on_a_known_network_is_never_locked_out() -> None:
    attacked = REGISTERED.and_then(beginning.begin(a_begin()), 1)
    second = 10.0
    for _ in range(120):
        attacked = attacked.and_then(subject.fail(ALICE, "web", "cafe@1"), second)
        second = max(second, (attacked.subject().blocked_until - START) / SECOND)
        assert Verdict.BEGUN == attacked.when(beginning.begin(a_begin(2)), second - 1).verdict.verdict

    assert 120 == attacked.subject().failures


def test_a_hundred_failures_and_more_never_block_for_good() -> None:
    attacked = REGISTERED
    second = 10.0
    for _ in range(120):
        attacked = attacked.and_then(subject.fail(ALICE, "web", "cafe@1"), second)
        second = max(second, (attacked.subject().blocked_until - START) / SECOND)
    state = attacked.subject()

    assert (120, LONGEST_BLOCK * SECOND) == (state.failures, state.blocked_until - attacked_at(attacked))
    assert Verdict.BLOCKED == attacked.when(beginning.begin(a_begin(2)), second - 1).verdict.verdict
    assert Verdict.BEGUN == attacked.when(beginning.begin(a_begin(2)), second).verdict.verdict


def attacked_at(before: Past) -> int:
    """When the last wrong password was typed."""
    return START + round(before.told[-1].after * SECOND)


def test_a_guesser_gets_few_tries_in_a_day_however_patient() -> None:
    attacked, tries, second = REGISTERED, 0, 10.0
    while second < 86_400:
        attacked = attacked.and_then(subject.fail(ALICE, "web", "cafe@1"), second)
        second = max(second + 1, (attacked.subject().blocked_until - START) / SECOND)
        tries += 1

    assert tries < 120


# Passwords


def test_staff_set_a_password_and_every_family_of_the_subject_ends() -> None:
    then = SIGNED_IN.when(subject.set_password(ALICE, "hash-2", "cli"), 60)

    assert (Outcome.DONE, ["subject.password_changed", "family.revoked", "family.revoked"]) == outcome(then)
    assert [["family.revoked"], ["family.revoked"], []] == [then.of(s) for s in (FAMILY, PHONE, numbered(8))]
    assert {"reason": "password_changed"} == fields_of(then.facts[1], "reason")


def change(before: Past, after: float = 60, **more: Any) -> Then:
    fields: dict[str, Any] = {"number": 99, "replaces": FAMILY} | more
    return before.when(subject.change_password(a_begin(**fields), "hash-2"), after)


def test_changing_the_password_ends_all_families_and_begins_one() -> None:
    then = change(SIGNED_IN)

    assert Verdict.BEGUN == then.verdict.verdict
    assert ["subject.password_changed", "family.revoked", "family.revoked", "token.issued"] == then.types
    assert ["replaced", "password_changed"] == [f.reason for f in then.facts[1:3]]  # type: ignore[attr-defined]
    assert ("hash-2", 2) == (then.changes[0].account.password, then.verdict.ended)  # type: ignore[union-attr]


def test_after_a_password_change_old_tokens_are_dead_and_it_is_no_theft() -> None:
    after = SIGNED_IN.and_then(subject.change_password(a_begin(99, replaces=FAMILY), "hash-2"), 60)

    assert (Verdict.REVOKED, ["token.refused"]) == summary(after.when(family.refresh(a_refresh(1)), 61))
    assert Verdict.ROTATED == after.when(family.refresh(a_refresh(1, numbered(99))), 61).verdict.verdict


def test_a_sign_in_with_the_old_password_that_was_under_way_fails() -> None:
    after = SIGNED_IN.and_then(subject.change_password(a_begin(99, replaces=FAMILY), "hash-2"), 60)
    new = after.subject().password_version

    assert Verdict.INVALID == after.when(beginning.begin(a_begin(3, password_version=1)), 61).verdict.verdict
    assert Verdict.BEGUN == after.when(beginning.begin(a_begin(3, password_version=new)), 61).verdict.verdict


@pytest.mark.parametrize(
    ("before", "more", "verdict"),
    [
        (SIGNED_IN, {"password_version": 0}, Verdict.INVALID),
        (SIGNED_IN.and_then(subject.disable(ALICE, "left", "cli"), 59), {}, Verdict.INVALID),
        (SIGNED_IN.and_then(subject.set_password(ALICE, "hash-9", "cli"), 59), {}, Verdict.INVALID),
        (Past((*SIGNED_IN.told, Told(WEB, apps.ClientDisabled(actor="cli", client="web"), 59))), {}, Verdict.INVALID),
        (SIGNED_IN, {"client": "dashboard"}, Verdict.INVALID),
        (SIGNED_IN, {"replaces": numbered(55)}, Verdict.REVOKED),
        (failed(SIGNED_IN, FREE_FAILURES, after=48), {"tags": seen("laptop", "cafe")}, Verdict.BLOCKED),
    ],
    ids=["stale", "disabled", "set meanwhile", "client off", "no staff", "session ended", "blocked network"],
)
def test_a_password_change_that_may_not_be_changes_nothing(
    before: Past, more: dict[str, Any], verdict: Verdict
) -> None:
    assert (verdict, []) == summary(change(before, **more))


def test_a_change_ends_failures_and_block() -> None:
    home = SIGNED_IN.and_then(beginning.begin(a_begin(5)), 2)
    after = failed(home, 12, network="home").and_then(subject.change_password(a_begin(99, replaces=FAMILY), "h"), 60)

    assert (0, 0) == (after.subject().failures, after.subject().blocked_until)


def test_a_hash_of_todays_cost_disturbs_nothing() -> None:
    then = SIGNED_IN.when(subject.rehash(ALICE, "hash-1-dearer", 1), 60)
    after = failed(SIGNED_IN, 3).and_then(subject.rehash(ALICE, "hash-1-dearer", 1), 60)

    assert (Outcome.DONE, ["subject.password_changed"]) == outcome(then)
    assert {"reason": "upgraded", "actor": "system"} == fields_of(then.facts[0], "reason", "actor")
    assert ("hash-1-dearer", 1, 3) == (
        after.subject().password,
        after.subject().password_version,
        after.subject().failures,
    )


def test_a_hash_of_a_password_that_is_not_current_any_more_is_not_stored() -> None:
    after = SIGNED_IN.and_then(subject.set_password(ALICE, "hash-2", "cli"), 60)

    assert (Outcome.STALE, []) == outcome(after.when(subject.rehash(ALICE, "hash-1-dearer", 1), 61))


# Roles


def test_roles_are_replaced_as_a_whole() -> None:
    then = REGISTERED.when(subject.change_roles(ALICE, "responder viewer", "cli"))

    assert (Outcome.DONE, ["subject.roles_changed"]) == outcome(then)
    assert (
        "responder viewer"
        == REGISTERED.and_then(subject.change_roles(ALICE, "responder viewer", "cli")).subject().roles
    )


def test_the_same_roles_are_no_change() -> None:
    assert (Outcome.UNCHANGED, []) == outcome(REGISTERED.when(subject.change_roles(ALICE, "", "cli")))


def test_the_next_refresh_carries_the_new_roles() -> None:
    after = SIGNED_IN.and_then(subject.change_roles(ALICE, "viewer", "cli"), 60)

    assert "viewer" == after.when(family.refresh(a_refresh(1)), 61).verdict.roles


# Disabling and enabling


def test_disabling_ends_every_family_in_the_same_decision() -> None:
    then = SIGNED_IN.when(subject.disable(ALICE, "left", "cli"), 60)

    assert (Outcome.DONE, ["subject.disabled", "family.revoked", "family.revoked"]) == outcome(then)
    assert {"reason": "subject_disabled", "actor": "cli"} == fields_of(then.facts[1], "reason", "actor")
    assert [] == then.of(numbered(8))


def test_disabling_twice_is_once() -> None:
    after = SIGNED_IN.and_then(subject.disable(ALICE, "left", "cli"), 60)

    assert (Outcome.UNCHANGED, []) == outcome(after.when(subject.disable(ALICE, "left", "cli"), 61))


def test_enabling_revives_nothing() -> None:
    after = SIGNED_IN.and_then(subject.disable(ALICE, "left", "cli"), 60)
    after = after.and_then(subject.enable(ALICE, "cli"), 61)

    assert (Verdict.REVOKED, ["token.refused"]) == summary(after.when(family.refresh(a_refresh(1)), 62))
    assert Verdict.REVOKED == after.when(family.refresh(a_refresh(1, PHONE)), 62).verdict.verdict
    assert Verdict.BEGUN == after.when(beginning.begin(a_begin(3)), 62).verdict.verdict


def test_enabling_who_is_enabled_is_no_change() -> None:
    assert (Outcome.UNCHANGED, []) == outcome(REGISTERED.when(subject.enable(ALICE, "cli")))


@pytest.mark.parametrize(
    "decide",
    [
        subject.set_password(ALICE, "h", "cli"),
        subject.rehash(ALICE, "h", 1),
        subject.change_roles(ALICE, "viewer", "cli"),
        subject.disable(ALICE, "left", "cli"),
        subject.enable(ALICE, "cli"),
    ],
)
def test_what_is_done_to_nobody_is_unknown(decide: Any) -> None:
    then = given().when(decide)

    assert [] == then.types
    assert Outcome.UNKNOWN == then.verdict


def test_the_end_that_was_promised_is_never_put_off() -> None:
    state = SIGNED_IN.family()

    assert state.ends_at == end_of(state, Policy(absolute_ttl=10**9))
    assert state.started_at + 5 * SECOND == end_of(state, Policy(absolute_ttl=5))


# What programs ask for


def _called(name: str = "", external: str = "42", client: str = "shop", stream: bytes = BOB) -> Register:
    return Register(stream, name, "", "", f"client:{client}", client, external)


def test_a_subject_of_an_application_is_created_once_for_each_of_its_ids() -> None:
    once = given().and_then(subject.register(_called()))

    assert (Outcome.FOUND, []) == outcome(once.when(subject.register(_called(stream=ALICE))))
    assert Outcome.DONE == once.when(subject.register(_called(stream=ALICE, client="other"))).verdict
    assert Outcome.DONE == once.when(subject.register(_called(stream=ALICE, external="43"))).verdict
    assert (sub(BOB), "shop", "shop\x1f42") == (
        once.subject(BOB).name,
        once.subject(BOB).client,
        once.subject(BOB).external,
    )


def test_no_login_name_is_taken_for_an_id_of_an_application() -> None:
    assert not subject.acceptable("shop\x1f42")


@pytest.mark.parametrize("roles", ["viewer", "responder", "admin"])
def test_no_program_acts_on_somebody_with_a_role_in_the_dashboard(roles: str) -> None:
    before = given(a_client(), a_subject(roles=roles), a_family())
    rules = [
        subject.disable(ALICE, "left", "client:shop"),
        subject.enable(ALICE, "client:shop"),
        ending.revoke_all(ALICE, "client:shop", "logout"),
        ending.revoke(FAMILY, "client:shop", "logout"),
    ]

    found = [before.when(subject.unless_staff(ALICE, rule)) for rule in rules]

    assert [(Outcome.STAFF, [])] * 4 == [outcome(one) for one in found]
    assert (Outcome.UNKNOWN, []) == outcome(before.when(subject.unless_staff(BOB, rules[0])))


def test_a_program_acts_on_everybody_else() -> None:
    before = given(a_client(), a_subject(), a_family())

    disabled = before.when(subject.unless_staff(ALICE, subject.disable(ALICE, "left", "client:shop")))

    assert (Outcome.DONE, ["subject.disabled", "family.revoked"]) == outcome(disabled)


def test_all_sessions_end_but_those_of_clients_out_of_reach() -> None:
    before = given(a_client(), a_subject(), a_family(), a_family(numbered(2), name="shop"))

    then = before.when(ending.revoke_all(ALICE, "client:shop", "logout", reaches=lambda name: name == "shop"))

    assert ([], ["family.revoked"]) == (then.of(FAMILY), then.of(numbered(2)))
