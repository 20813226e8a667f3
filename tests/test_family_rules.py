"""The verdict table of a refresh: every row with its negative, each order of two rows, each edge of the leeway."""

from typing import Any

import pytest

from core import ending, family, policy
from core.policy import SECOND, Policy
from core.token import MAX_GENERATION, Token
from core.verdict import Verdict
from events import client, log, subject
from events import family as past
from events.client import OBSERVE, REQUIRE_LOGIN, REVOKE
from tests.given import (
    ALICE,
    DEFAULTS,
    FAMILY,
    NONCE,
    START,
    WEB,
    Past,
    Then,
    Told,
    a_client,
    a_family,
    a_refresh,
    a_subject,
    fields_of,
    given,
    seen,
    summary,
)

DAY = 86_400
ALIVE = given(a_client(), a_subject(), a_family())
"""Alice signed in, and nothing else."""
ROTATED = ALIVE.and_then(family.refresh(a_refresh(1)), 60)
"""Her first token was used after a minute: the second is the current one."""
TWICE = ROTATED.and_then(family.refresh(a_refresh(2)), 120)
"""The third is the current one since two minutes after the start."""


def refreshed(
    before: Past, after: float, generation: int = 1, moment: dict[str, int] | None = None, **more: Any
) -> Then:
    return before.when(family.refresh(a_refresh(generation, **more)), after, **(moment or {}))


def with_client(**policy: Any) -> Past:
    """As ROTATED, but the client has a policy of its own."""
    return given(a_client(**policy), a_subject(), a_family()).and_then(family.refresh(a_refresh(1)), 60)


def revoked(before: Past, after: float = 61) -> Past:
    return before.and_then(ending.revoke(FAMILY, "staff:x", "stolen_token"), after)


def disabled(before: Past) -> Past:
    """The subject cannot sign in, but its family was not ended: no such commit exists, the rule holds all the same."""
    fact = subject.SubjectDisabled(actor="cli", subject="", reason="left")
    return Past((*before.told, Told(ALICE, fact, 61)))


def recovered(before: Past, after: float, *, keep: bool = False) -> Past:
    fact = log.LedgerRecovered(actor="cli", size=9, lost=3, origin="again", keep_sessions=keep)
    return Past((*before.told, Told(log.STREAM, fact, after)))


def without(before: Past, stream: bytes) -> Past:
    return Past(one for one in before.told if one.stream != stream)


# The rows, in the order of the table


def test_the_current_token_rotates() -> None:
    then = refreshed(ALIVE, 60)

    assert (Verdict.ROTATED, ["token.rotated"]) == summary(then)
    assert fields_of(then.facts[0], "generation", "exp", "idle_until", "key", "device_tag") == {
        "generation": 2,
        "exp": START // SECOND + 60 + 900,
        "idle_until": START + (60 + DEFAULTS.idle_ttl) * SECOND,
        "key": 0,
        "device_tag": "",
    }


def test_the_answer_holds_the_family_as_it_is_after_the_commit() -> None:
    then = refreshed(ALIVE, 60)

    assert ROTATED.family() == then.verdict.family


def test_a_retry_gets_the_same_successor_with_a_fresh_access_token() -> None:
    then = refreshed(ROTATED, 65, 1, jti="another-jti-of-22-char")

    assert (Verdict.RETRIED, ["token.retried"]) == summary(then)
    assert (2, "another-jti-of-22-char") == (then.verdict.family.generation, then.verdict.jti)
    assert START // SECOND + 65 + 900 == then.verdict.expires_at


def test_a_family_that_is_missing_is_unknown() -> None:
    assert (Verdict.UNKNOWN, []) == summary(refreshed(without(ALIVE, FAMILY), 60))


def test_another_nonce_is_unknown_and_leaves_the_family_as_it_is() -> None:
    assert (Verdict.UNKNOWN, []) == summary(refreshed(ALIVE, 60, token=Token(1, FAMILY, b"another nonce---", 1)))


def test_another_client_is_refused() -> None:
    then = refreshed(Past((*ALIVE.told, a_client("mobile"))), 60, client="mobile")

    assert (Verdict.REFUSED, ["token.refused"]) == summary(then)
    assert "client" == then.verdict.reason


def test_a_revoked_family_stays_revoked_and_the_try_is_noted() -> None:
    assert (Verdict.REVOKED, ["token.refused"]) == summary(refreshed(revoked(ROTATED), 70, 2))


def test_an_expired_family_stays_expired_and_the_try_is_noted() -> None:
    expired = ROTATED.and_then(ending.expire(FAMILY, DEFAULTS), 31 * DAY)

    assert (Verdict.EXPIRED, ["token.refused"]) == summary(refreshed(expired, 31 * DAY + 1, 2))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (without(ROTATED, ALICE), "subject"),
        (disabled(ROTATED), "subject"),
        (without(ROTATED, WEB), "client_disabled"),
        (Past((*ROTATED.told, Told(WEB, client.ClientDisabled(actor="cli", client="web"), 61))), "client_disabled"),
        (recovered(ROTATED, 61), "recovered"),
    ],
    ids=["subject missing", "subject disabled", "client missing", "client disabled", "ledger recovered"],
)
def test_a_family_without_ground_to_stand_on_ends(before: Past, reason: str) -> None:
    then = refreshed(before, 70, 2)

    assert (Verdict.REVOKED, ["family.revoked"]) == summary(then)
    assert {"reason": reason, "actor": "policy"} == fields_of(then.facts[0], "reason", "actor")


@pytest.mark.parametrize(("began", "verdict"), [(0.499999, Verdict.REVOKED), (0.5, Verdict.ROTATED)])
def test_a_recovery_ends_what_began_before_it(began: float, verdict: Verdict) -> None:
    before = given(a_client(), a_subject(), a_family(after=began))

    assert verdict == refreshed(recovered(before, 0.5), 60).verdict.verdict


def test_a_recovery_may_keep_the_sessions() -> None:
    assert Verdict.ROTATED == refreshed(recovered(ROTATED, 61, keep=True), 70, 2).verdict.verdict


def test_a_client_that_was_enabled_again_refreshes() -> None:
    off = Told(WEB, client.ClientDisabled(actor="cli", client="web"), 61)
    on = Told(WEB, client.ClientEnabled(actor="cli", client="web"), 62)

    assert Verdict.ROTATED == refreshed(Past((*ROTATED.told, off, on)), 70, 2).verdict.verdict


@pytest.mark.parametrize(
    ("after", "verdict", "reason"),
    [
        (60 + DEFAULTS.idle_ttl - 0.000001, Verdict.ROTATED, ""),
        (60 + DEFAULTS.idle_ttl, Verdict.EXPIRED, "idle"),
        (DEFAULTS.absolute_ttl, Verdict.EXPIRED, "absolute"),
    ],
)
def test_a_limit_holds_to_the_microsecond(after: float, verdict: Verdict, reason: str) -> None:
    then = refreshed(ROTATED, after, 2)

    assert (verdict, reason) == (then.verdict.verdict, then.verdict.reason)
    assert (["token.rotated"] if not reason else ["family.expired"]) == then.types


def test_use_moves_the_idle_limit_but_never_the_absolute_one() -> None:
    used = ROTATED
    for day in range(6, 30, 6):
        used = used.and_then(family.refresh(a_refresh(used.family().generation)), day * DAY)
    last = used.family()

    assert (6, START + 30 * DAY * SECOND) == (last.generation, last.idle_until)
    assert Verdict.ROTATED == refreshed(used, 30 * DAY - 1, 6).verdict.verdict
    assert Verdict.EXPIRED == refreshed(used, 30 * DAY, 6).verdict.verdict


@pytest.mark.parametrize(
    ("today", "after", "verdict"),
    [
        ({"idle_ttl": 100}, 159.0, Verdict.ROTATED),
        ({"idle_ttl": 100}, 160.0, Verdict.EXPIRED),
        ({"absolute_ttl": 100}, 99.0, Verdict.ROTATED),
        ({"absolute_ttl": 100}, 100.0, Verdict.EXPIRED),
        ({"idle_ttl": 90 * DAY, "absolute_ttl": 90 * DAY}, 60.0 + 7 * DAY, Verdict.EXPIRED),
    ],
)
def test_the_earlier_of_what_is_stored_and_what_todays_policy_gives(
    today: dict[str, Any], after: float, verdict: Verdict
) -> None:
    updated = Told(WEB, client.ClientUpdated(actor="cli", client="web", **today), 61)

    assert verdict == refreshed(Past((*ROTATED.told, updated)), after, 2).verdict.verdict


def test_an_access_token_and_the_idle_limit_never_pass_the_end_of_the_family() -> None:
    updated = Told(WEB, client.ClientUpdated(actor="cli", client="web", absolute_ttl=100, access_ttl=900), 61)
    then = refreshed(Past((*ROTATED.told, updated)), 70.5, 2)

    assert START // SECOND + 100 == then.verdict.expires_at
    assert {"idle_until": START + 100 * SECOND} == fields_of(then.facts[0], "idle_until")


def test_an_access_token_ends_with_the_last_full_second_of_its_family() -> None:
    begun = given(a_client(), a_subject(), a_family(ends_at=START + 100_999_999))

    assert START // SECOND + 100 == refreshed(begun, 50).verdict.expires_at


def test_a_token_from_the_future_is_ahead_and_never_a_theft() -> None:
    then = refreshed(ROTATED, 70, 3)

    assert (Verdict.AHEAD, ["token.refused"]) == summary(then)
    assert "ahead" == then.verdict.reason
    assert Verdict.ROTATED == refreshed(ROTATED.and_then(family.refresh(a_refresh(3)), 70), 71, 2).verdict.verdict


@pytest.mark.parametrize(("generation", "kind"), [(2, "one_behind"), (1, "older")])
def test_a_used_token_is_recognised_and_the_family_ends(generation: int, kind: str) -> None:
    then = refreshed(TWICE, 180, generation, tags=seen("phone", "cafe"))

    assert (Verdict.REUSED, ["token.reuse_detected", "family.revoked"]) == summary(then)
    assert fields_of(then.facts[0], "generation", "current", "kind", "device_tag", "network_tag") == {
        "generation": generation,
        "current": 3,
        "kind": kind,
        "device_tag": "phone@1",
        "network_tag": "cafe@1",
    }
    assert {"reason": "reuse", "actor": "policy"} == fields_of(then.facts[1], "reason", "actor")


def test_after_a_reuse_nothing_of_the_family_lives() -> None:
    after = TWICE.and_then(family.refresh(a_refresh(1)), 180)

    assert (past.REVOKED, START + 180 * SECOND) == (after.family().status, after.family().reused_at)
    assert [Verdict.REVOKED] * 4 == [refreshed(after, 181, g).verdict.verdict for g in (1, 2, 3, 4)]


def test_another_carriage_is_refused() -> None:
    then = refreshed(ROTATED, 70, 2, carriage="cookie")

    assert (Verdict.REFUSED, ["token.refused"]) == summary(then)
    assert "carriage" == then.verdict.reason


@pytest.mark.parametrize(
    ("wishes", "verdict", "types", "reason"),
    [
        ((OBSERVE, OBSERVE), Verdict.ROTATED, ["family.context_changed", "token.rotated"], ""),
        ((REQUIRE_LOGIN, OBSERVE), Verdict.REFUSED, ["token.refused"], "device_changed"),
        ((OBSERVE, REQUIRE_LOGIN), Verdict.REFUSED, ["token.refused"], "network_changed"),
        ((REVOKE, OBSERVE), Verdict.REVOKED, ["family.revoked"], "device_changed"),
        ((OBSERVE, REVOKE), Verdict.REVOKED, ["family.revoked"], "network_changed"),
        ((REQUIRE_LOGIN, REVOKE), Verdict.REVOKED, ["family.revoked"], "network_changed"),
        ((REVOKE, REQUIRE_LOGIN), Verdict.REVOKED, ["family.revoked"], "device_changed"),
    ],
)
def test_what_a_changed_context_means_is_the_clients_policy(
    wishes: tuple[str, str], verdict: Verdict, types: list[str], reason: str
) -> None:
    before = with_client(on_device_change=wishes[0], on_network_change=wishes[1])
    then = refreshed(before, 70, 2, tags=seen("phone", "cafe"))

    assert (verdict, types, reason) == (*summary(then), then.verdict.reason)


@pytest.mark.parametrize("wish", [REQUIRE_LOGIN, REVOKE])
def test_no_policy_objects_to_the_same_context(wish: str) -> None:
    before = with_client(on_device_change=wish, on_network_change=wish)

    assert (Verdict.ROTATED, ["token.rotated"]) == summary(refreshed(before, 70, 2))


def test_a_changed_context_is_compared_with_the_last_one_from_then_on() -> None:
    moved = ROTATED.and_then(family.refresh(a_refresh(2, tags=seen("laptop", "cafe"))), 70)

    assert ["token.rotated"] == refreshed(moved, 80, 3, tags=seen("laptop", "cafe")).types
    back = refreshed(moved, 80, 3)
    assert ["family.context_changed", "token.rotated"] == back.types
    assert {"changed": "network"} == fields_of(back.facts[0], "changed")


# No context policy hides a reuse


@pytest.mark.parametrize("generation", [1, 2], ids=["older", "one behind"])
@pytest.mark.parametrize("tags", [seen(), seen("phone"), seen("laptop", "cafe"), seen("phone", "cafe")])
@pytest.mark.parametrize("carriage", ["body", "cookie"])
@pytest.mark.parametrize("on_network", [OBSERVE, REQUIRE_LOGIN, REVOKE])
@pytest.mark.parametrize("on_device", [OBSERVE, REQUIRE_LOGIN, REVOKE])
def test_no_context_policy_and_no_carriage_hides_a_reuse(
    on_device: str, on_network: str, carriage: str, tags: Any, generation: int
) -> None:
    before = with_client(on_device_change=on_device, on_network_change=on_network)
    before = before.and_then(family.refresh(a_refresh(2)), 120)

    then = refreshed(before, 180, generation, tags=tags, carriage=carriage)

    assert (Verdict.REUSED, ["token.reuse_detected", "family.revoked"]) == summary(then)


@pytest.mark.parametrize("wish", [OBSERVE, REQUIRE_LOGIN, REVOKE])
def test_another_device_within_the_leeway_is_a_reuse_under_any_policy(wish: str) -> None:
    then = refreshed(with_client(on_device_change=wish), 61, 1, tags=seen("phone"))

    assert (Verdict.REUSED, ["token.reuse_detected", "family.revoked"]) == summary(then)


# Two rows hold: the first in the table wins


@pytest.mark.parametrize(
    ("before", "refresh", "verdict", "reason"),
    [
        (revoked(ROTATED), {"generation": 2, "client": "mobile"}, Verdict.REFUSED, "client"),
        (ROTATED, {"generation": 1, "client": "mobile", "after": 40 * DAY}, Verdict.REFUSED, "client"),
        (disabled(ROTATED), {"generation": 2, "client": "mobile"}, Verdict.REFUSED, "client"),
        (disabled(revoked(ROTATED)), {"generation": 2}, Verdict.REVOKED, "revoked"),
        (disabled(ROTATED), {"generation": 2, "after": 40 * DAY}, Verdict.REVOKED, "subject"),
        (disabled(ROTATED), {"generation": 1}, Verdict.REVOKED, "subject"),
        (disabled(ROTATED), {"generation": 9}, Verdict.REVOKED, "subject"),
        (recovered(ROTATED, 61), {"generation": 9}, Verdict.REVOKED, "recovered"),
        (recovered(ROTATED, 61), {"generation": 2, "after": 40 * DAY}, Verdict.REVOKED, "recovered"),
        (ROTATED, {"generation": 9, "after": 40 * DAY}, Verdict.EXPIRED, "absolute"),
        (ROTATED, {"generation": 1, "after": 8 * DAY}, Verdict.EXPIRED, "idle"),
        (ROTATED, {"generation": 1, "after": 31 * DAY}, Verdict.EXPIRED, "absolute"),
        (ROTATED, {"generation": 9, "carriage": "cookie"}, Verdict.AHEAD, "ahead"),
        (ROTATED, {"generation": 9, "tags": seen("phone")}, Verdict.AHEAD, "ahead"),
        (ROTATED, {"generation": 1, "carriage": "cookie", "after": 90}, Verdict.REUSED, "one_behind"),
        (ROTATED, {"generation": 1, "carriage": "cookie"}, Verdict.REFUSED, "carriage"),
        (
            with_client(on_device_change=REVOKE),
            {"generation": 2, "carriage": "cookie", "tags": seen("phone")},
            Verdict.REFUSED,
            "carriage",
        ),
        (
            with_client(on_network_change=REQUIRE_LOGIN),
            {"tags": seen("laptop", "cafe")},
            Verdict.REFUSED,
            "network_changed",
        ),
        (with_client(on_network_change=REVOKE), {"tags": seen("laptop", "cafe")}, Verdict.REVOKED, "network_changed"),
    ],
    ids=[
        "client before revoked",
        "client before expired",
        "client before subject",
        "revoked before subject",
        "subject before limits",
        "subject before reuse",
        "subject before ahead",
        "recovered before ahead",
        "recovered before limits",
        "limits before ahead",
        "idle before reuse",
        "absolute before reuse",
        "ahead before carriage",
        "ahead before context",
        "reuse before carriage",
        "carriage before retried",
        "carriage before context",
        "context before retried",
        "context may end what would be retried",
    ],
)
def test_of_two_rows_the_first_holds(before: Past, refresh: dict[str, Any], verdict: Verdict, reason: str) -> None:
    before = Past((*before.told, a_client("mobile")))
    then = refreshed(before, **{"generation": 1, "after": 65, **refresh})

    assert (verdict, reason) == (then.verdict.verdict, then.verdict.reason)


def test_unknown_comes_before_everything() -> None:
    then = refreshed(disabled(revoked(ROTATED)), 40 * DAY, client="mobile", token=Token(1, FAMILY, b"x" * 16, 9))

    assert (Verdict.UNKNOWN, []) == summary(then)


# The leeway


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(60, Verdict.RETRIED), (69.999999, Verdict.RETRIED), (70, Verdict.RETRIED), (70.000001, Verdict.REUSED)],
)
def test_the_leeway_holds_to_the_microsecond(after: float, verdict: Verdict) -> None:
    assert verdict == refreshed(ROTATED, after, 1).verdict.verdict


@pytest.mark.parametrize("after", [60, 60.000001, 65])
def test_a_leeway_of_zero_is_strict(after: float) -> None:
    assert Verdict.REUSED == refreshed(with_client(leeway=0), after, 1).verdict.verdict


@pytest.mark.parametrize(
    ("policy", "leeway"),
    [
        ({"leeway": 30}, 30),
        ({"leeway": 300}, 90),
        ({"leeway": 30, "access_ttl": 100}, 10),
        ({"leeway": 9, "access_ttl": 35}, 3.5),
    ],
)
def test_a_clients_leeway_is_its_own_but_a_tenth_of_the_access_token_at_most(
    policy: dict[str, int], leeway: float
) -> None:
    before = with_client(**policy)

    assert Verdict.RETRIED == refreshed(before, 60 + leeway, 1).verdict.verdict
    assert Verdict.REUSED == refreshed(before, 60 + leeway + 0.000001, 1).verdict.verdict


def test_a_retry_may_come_from_another_network() -> None:
    then = refreshed(ROTATED, 65, 1, tags=seen("laptop", "cafe"))

    assert (Verdict.RETRIED, ["token.retried"]) == summary(then)
    assert {"network_tag": "cafe@1"} == fields_of(then.facts[0], "network_tag")


def test_a_retry_never_comes_from_another_device() -> None:
    assert Verdict.REUSED == refreshed(ROTATED, 61, 1, tags=seen("phone")).verdict.verdict


def test_two_generations_behind_is_never_a_retry() -> None:
    quick = ROTATED.and_then(family.refresh(a_refresh(2)), 60.000001)

    assert Verdict.REUSED == refreshed(quick, 60.000002, 1).verdict.verdict


def test_a_retry_does_not_move_the_window() -> None:
    retried = ROTATED
    for after in (63, 66, 69, 70):
        retried = retried.and_then(family.refresh(a_refresh(1)), after)

    assert [2, START + 60 * SECOND] == [retried.family().generation, retried.family().rotated_at]
    assert Verdict.REUSED == refreshed(retried, 70.000001, 1).verdict.verdict


def test_a_retry_moves_neither_limit_nor_context_of_the_family() -> None:
    retried = ROTATED.and_then(family.refresh(a_refresh(1, tags=seen("laptop", "cafe"))), 65).family()
    before = ROTATED.family()

    assert (before.idle_until, before.ends_at, before.network_tag) == (
        retried.idle_until,
        retried.ends_at,
        retried.network_tag,
    )


def test_once_the_successor_was_used_its_predecessor_is_never_a_retry() -> None:
    assert Verdict.REUSED == refreshed(TWICE, 120.5, 1).verdict.verdict


def test_the_leeway_is_measured_to_the_arrival_not_to_the_decision() -> None:
    in_time = {"arrived": START + 70 * SECOND}
    too_late = {"arrived": START + 70 * SECOND + 1}

    assert Verdict.RETRIED == refreshed(ROTATED, 75, 1, in_time).verdict.verdict
    assert Verdict.REUSED == refreshed(ROTATED, 75, 1, too_late).verdict.verdict


@pytest.mark.parametrize(
    ("ready", "after", "verdict"),
    [
        (100, 110, Verdict.RETRIED),
        (100, 110.000001, Verdict.REUSED),
        (50, 70, Verdict.RETRIED),
        (50, 70.000001, Verdict.REUSED),
    ],
)
def test_the_leeway_counts_from_the_later_of_rotation_and_readiness(ready: int, after: float, verdict: Verdict) -> None:
    assert verdict == refreshed(ROTATED, after, 1, {"ready": START + ready * SECOND}).verdict.verdict


@pytest.mark.parametrize(
    ("unable", "verdict"),
    [(0, Verdict.RETRIED), (65, Verdict.RETRIED), (70, Verdict.RETRIED), (70.000001, Verdict.REUSED)],
)
def test_a_leeway_that_was_over_before_the_fault_stays_over(unable: float, verdict: Verdict) -> None:
    moment = {"unable": START + round(unable * SECOND), "ready": START + 3600 * SECOND}

    assert verdict == refreshed(ROTATED, 3605, 1, moment).verdict.verdict


def test_readiness_lengthens_no_other_deadline() -> None:
    ready = {"ready": START + 31 * DAY * SECOND}

    assert Verdict.EXPIRED == refreshed(ROTATED, 31 * DAY, 2, ready).verdict.verdict
    assert Verdict.REUSED == refreshed(TWICE, 180, 1, {"ready": START + 180 * SECOND}).verdict.verdict


def test_readiness_opens_no_leeway_where_there_is_none() -> None:
    ready = {"ready": START + 65 * SECOND}

    assert Verdict.REUSED == refreshed(with_client(leeway=0), 65, 1, ready).verdict.verdict


# What is noted of refusals


def refused(before: Past, after: float, **more: Any) -> Then:
    return refreshed(before, after, 2, carriage="cookie", **more)


def test_a_refusal_is_noted_once_a_minute_for_each_family_and_reason() -> None:
    noted = ROTATED.and_then(family.refresh(a_refresh(2, carriage="cookie")), 70)
    again = refused(noted, 75)

    assert (Verdict.REFUSED, [], True) == (*summary(again), again.verdict.omitted)
    assert ["token.refused"] == refused(noted, 130).types
    assert ["token.refused"] == refreshed(noted, 75, 9).types


def test_the_next_note_says_how_many_were_left_out_for_that_reason() -> None:
    left_out = {"carriage": 7, "ahead": 3}

    assert {"omitted": 7} == fields_of(refused(ROTATED, 70, omitted=left_out).facts[0], "omitted")
    assert {"omitted": 3} == fields_of(refreshed(ROTATED, 70, 9, omitted=left_out).facts[0], "omitted")
    assert {"omitted": 0} == fields_of(refreshed(revoked(ROTATED), 70, 2, omitted=left_out).facts[0], "omitted")


def test_a_refusal_changes_nothing_of_the_family_but_its_notes() -> None:
    before = ROTATED.family()
    after = ROTATED.and_then(family.refresh(a_refresh(2, carriage="cookie")), 70).family()

    assert (before.generation, before.rotated_at, before.idle_until, before.status) == (
        after.generation,
        after.rotated_at,
        after.idle_until,
        after.status,
    )


# The key number


def test_a_new_master_key_tags_the_family_again() -> None:
    rekeyed = ROTATED.and_then(family.refresh(a_refresh(2, key=7)), 70)
    state = rekeyed.family()

    assert (7, "laptop@7", "home@7") == (state.key, state.device_tag, state.network_tag)
    assert ["token.rotated"] == refreshed(rekeyed, 80, 3, key=7, token=Token(7, FAMILY, NONCE, 3)).types


def test_a_change_of_key_is_no_change_of_device_for_a_retry() -> None:
    rekeyed = ROTATED.and_then(family.refresh(a_refresh(2, key=7)), 70)
    then = refreshed(rekeyed, 75, 2, key=7)

    assert (Verdict.RETRIED, 7) == (then.verdict.verdict, then.verdict.family.key)
    assert Verdict.REUSED == refreshed(rekeyed, 75, 2, key=7, tags=seen("phone")).verdict.verdict


def test_a_retry_after_the_key_changed_gets_the_successor_under_the_old_key() -> None:
    then = refreshed(ROTATED, 65, 1, key=7)

    assert (Verdict.RETRIED, 1) == (then.verdict.verdict, then.verdict.family.key)


def test_a_change_of_key_and_device_at_once_is_both() -> None:
    then = refreshed(ROTATED, 70, 2, key=7, tags=seen("phone"))
    after = ROTATED.and_then(family.refresh(a_refresh(2, key=7, tags=seen("phone"))), 70).family()

    assert ["family.context_changed", "token.rotated"] == then.types
    assert ("phone@7", "home@7") == (after.device_tag, after.network_tag)


def test_a_family_that_cannot_count_further_fails_rather_than_begin_anew() -> None:
    rotation = past.TokenRotated(
        actor="subject",
        subject=a_subject().fact.subject,  # type: ignore[attr-defined]
        client="web",
        generation=MAX_GENERATION,
        jti="",
        exp=0,
        idle_until=START + DAY * SECOND,
    )
    with pytest.raises(OverflowError):
        refreshed(Past((*ALIVE.told, Told(FAMILY, rotation, 1))), 60, MAX_GENERATION)


# A look at the token, and the ends of a family


@pytest.mark.parametrize(
    ("before", "generation", "after", "verdict"),
    [
        (ROTATED, 2, 70, Verdict.CURRENT),
        (ROTATED, 1, 65, Verdict.CURRENT),
        (ROTATED, 1, 90, Verdict.REUSED),
        (ROTATED, 3, 90, Verdict.AHEAD),
        (ROTATED, 2, 31 * DAY, Verdict.EXPIRED),
        (revoked(ROTATED), 2, 70, Verdict.REVOKED),
        (disabled(ROTATED), 2, 70, Verdict.REVOKED),
        (without(ROTATED, FAMILY), 2, 70, Verdict.UNKNOWN),
    ],
)
def test_a_look_judges_as_a_refresh_does_and_writes_nothing(
    before: Past, generation: int, after: float, verdict: Verdict
) -> None:
    assert (verdict, []) == summary(before.when(family.check(a_refresh(generation)), after))


def test_revoking_ends_a_family_once() -> None:
    once = ROTATED.when(ending.revoke(FAMILY, "staff:x", "stolen_token", "a note", "INC-7"), 61)
    again = revoked(ROTATED).when(ending.revoke(FAMILY, "staff:y", "suspicious"), 62)

    assert (Verdict.ENDED, ["family.revoked"]) == summary(once)
    assert ("a note", "INC-7") == (once.changes[0].account.note, once.facts[0].ticket)  # type: ignore[union-attr, attr-defined]
    assert (Verdict.ENDED, []) == summary(again)
    assert (
        "stolen_token"
        == revoked(ROTATED).and_then(ending.revoke(FAMILY, "staff:y", "suspicious"), 62).family().ended_reason
    )


def test_signing_out_takes_any_genuine_token_of_the_family_and_no_other() -> None:
    right = a_refresh(1).token.nonce_hash

    assert (Verdict.ENDED, ["family.revoked"]) == summary(
        TWICE.when(ending.revoke(FAMILY, "subject", "logout", nonce=right), 500)
    )
    assert (Verdict.UNKNOWN, []) == summary(TWICE.when(ending.revoke(FAMILY, "subject", "logout", nonce="other"), 500))


def test_signing_out_everywhere_needs_a_family_that_lives() -> None:
    right = a_refresh(1).token.nonce_hash
    phone = a_family(b"\0" * 16)
    both = Past((*ROTATED.told, phone))

    assert ["family.revoked"] * 2 == both.when(ending.revoke_all_by(FAMILY, right, "logout_all"), 61).types
    assert (Verdict.UNKNOWN, []) == summary(both.when(ending.revoke_all_by(FAMILY, "other", "logout_all"), 61))
    assert (Verdict.ENDED, []) == summary(revoked(both).when(ending.revoke_all_by(FAMILY, right, "logout_all"), 62))


def test_the_sweeper_ends_what_has_lapsed_and_nothing_else() -> None:
    week = 60 + DEFAULTS.idle_ttl

    def swept(before: Past, after: float) -> tuple[int, list[str]]:
        then = before.when(ending.expire(FAMILY, DEFAULTS), after)
        return then.verdict, then.types

    assert (0, []) == swept(ROTATED, week - 1)
    assert (1, ["family.expired"]) == swept(ROTATED, week)
    assert (0, []) == swept(revoked(ROTATED), week)


def test_a_policy_without_values_of_its_own_follows_the_settings() -> None:
    state = given(a_client()).states().by_stream[WEB]
    assert isinstance(state, client.Client)

    assert Policy(600, 60, 70, 5) == policy.of(state, Policy(600, 60, 70, 5))
