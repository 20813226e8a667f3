"""How a family begins: who may, what it replaces, which ones are too many, and in which order they go."""

from typing import Any

import pytest

from core import beginning, ending, family, policy
from core.policy import SECOND
from core.verdict import Verdict
from events import client, subject
from events.subject import UPGRADED
from tests.given import (
    ALICE,
    BOB,
    DEFAULTS,
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
    seen,
    sub,
    summary,
)

STAFF = a_subject(BOB, "bob", "viewer")
READY = given(a_client(), a_subject())
"""Alice is registered and has never signed in."""


def begun(before: Past, after: float = 60, **more: Any) -> Then:
    return before.when(beginning.begin(a_begin(**more)), after)


def ended(then: Then) -> list[bytes]:
    """The families that ended, in order."""
    return [c.stream for c in then.changes if c.fact.TYPE == "family.revoked"]


def with_families(count: int, name: str = "web", **client_policy: Any) -> Past:
    """Alice has so many families of a client, one second apart, oldest first, all refreshed once."""
    families = [a_family(numbered(1000 + n), ALICE, name, after=n) for n in range(count)]
    before = given(a_client(), a_client("mobile"), a_subject(), *families)
    if client_policy:
        before = Past((*before.told, Told(client.stream_of(name), _updated(name, **client_policy), 1)))
    return before


def _updated(name: str, **client_policy: Any) -> client.ClientUpdated:
    return client.ClientUpdated(actor="cli", client=name, **client_policy)


def test_a_family_begins_with_everything_that_its_first_tokens_need() -> None:
    then = begun(READY, device="kitchen")

    assert (Verdict.BEGUN, ["subject.login_succeeded", "token.issued"]) == summary(then)
    assert fields_of(then.facts[1], "subject", "idle_until", "ends_at", "exp", "device_tag", "network_tag", "key") == {
        "subject": sub(),
        "idle_until": START + (60 + DEFAULTS.idle_ttl) * SECOND,
        "ends_at": START + (60 + DEFAULTS.absolute_ttl) * SECOND,
        "exp": START // SECOND + 60 + 900,
        "device_tag": "laptop@1",
        "network_tag": "home@1",
        "key": 1,
    }
    assert "kitchen" == then.changes[1].account.device  # type: ignore[union-attr]


def test_the_answer_to_a_beginning_is_the_family_as_it_is_stored() -> None:
    then = begun(READY, device="kitchen")
    after = READY.and_then(beginning.begin(a_begin(device="kitchen")), 60)

    assert after.family(numbered(1)) == then.verdict.family


def test_the_first_access_token_never_passes_the_end_of_the_family() -> None:
    short = given(a_client(absolute_ttl=300, idle_ttl=600), a_subject())

    then = begun(short, 0.5)

    assert START // SECOND + 300 == then.verdict.expires_at
    assert {"idle_until": START + 300_500_000} == fields_of(then.facts[-1], "idle_until")


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (given(a_client()), {}),
        (given(a_subject()), {}),
        (Past((*READY.told, Told(ALICE, subject.SubjectDisabled(actor="cli", subject=sub(), reason="x"), 1))), {}),
        (Past((*READY.told, Told(WEB, client.ClientDisabled(actor="cli", client="web"), 1))), {}),
        (READY, {"password_version": 0}),
        (
            Past((*READY.told, Told(ALICE, subject.SubjectPasswordChanged(actor="cli", subject=sub(), reason="set")))),
            {},
        ),
    ],
    ids=["no subject", "no client", "subject disabled", "client disabled", "stale password", "password just changed"],
)
def test_who_may_not_sign_in_is_told_nothing_but_that(before: Past, more: dict[str, Any]) -> None:
    assert (Verdict.INVALID, []) == summary(begun(before, **more))


def test_a_hash_of_todays_cost_is_still_the_same_password() -> None:
    upgraded = Told(ALICE, subject.SubjectPasswordChanged(actor="system", subject=sub(), reason=UPGRADED), 1)

    assert Verdict.BEGUN == begun(Past((*READY.told, upgraded))).verdict.verdict


@pytest.mark.parametrize(
    ("roles", "verdict"),
    [
        ("", Verdict.INVALID),
        ("viewer", Verdict.BEGUN),
        ("responder", Verdict.BEGUN),
        ("admin", Verdict.BEGUN),
        ("customer", Verdict.INVALID),
        ("customer viewer", Verdict.BEGUN),
    ],
)
def test_the_dashboard_wants_a_staff_role(roles: str, verdict: Verdict) -> None:
    before = given(a_client("dashboard"), a_subject(roles=roles))

    assert verdict == begun(before, client="dashboard").verdict.verdict


def test_the_access_token_carries_the_roles_of_the_moment() -> None:
    then = begun(given(a_client("dashboard"), STAFF), owner=BOB, client="dashboard")

    assert "viewer" == then.verdict.roles


# Blocks after many wrong passwords


BLOCKED = Past(
    (
        *READY.and_then(beginning.begin(a_begin(9)), 1).told,
        Told(ALICE, subject.SubjectLoginFailed(actor="subject", subject=sub(), client="web", failures=10), 50),
        Told(
            ALICE,
            subject.SubjectLoginBlocked(actor="policy", subject=sub(), client="web", until=START + 80 * SECOND),
            50,
        ),
    )
)
"""Alice signed in from home once; then somebody typed ten wrong passwords, and unknown networks wait until 80 s."""


def test_a_blocked_subject_cannot_sign_in_from_an_unknown_network() -> None:
    assert (Verdict.BLOCKED, []) == summary(begun(BLOCKED, 60, tags=seen("laptop", "cafe")))


def test_a_blocked_subject_signs_in_from_a_network_it_has_used() -> None:
    assert (Verdict.BEGUN, ["subject.login_succeeded", "token.issued"]) == summary(begun(BLOCKED, 60))


@pytest.mark.parametrize(("after", "verdict"), [(79.999999, Verdict.BLOCKED), (80, Verdict.BEGUN)])
def test_a_block_ends_by_itself(after: float, verdict: Verdict) -> None:
    assert verdict == begun(BLOCKED, after, tags=seen("laptop", "cafe")).verdict.verdict


def test_a_successful_sign_in_ends_failures_and_block() -> None:
    after = BLOCKED.and_then(beginning.begin(a_begin()), 60).subject()

    assert (0, 0) == (after.failures, after.blocked_until)


def test_a_usual_sign_in_writes_nothing_about_the_subject() -> None:
    usual = READY.and_then(beginning.begin(a_begin(9)), 1)

    assert ["token.issued"] == begun(usual).types


def test_only_the_last_networks_are_remembered() -> None:
    before = READY
    for number, network in enumerate(["home", "office", "cafe", "train", "hotel"], 1):
        before = before.and_then(beginning.begin(a_begin(number, tags=seen("laptop", network))), number)

    assert "hotel@1 train@1 cafe@1 office@1" == before.subject().networks


# What a beginning replaces


def test_a_family_of_the_same_browser_ends_with_the_new_one() -> None:
    then = begun(
        given(a_client(), a_subject(), a_family()), replaces=FAMILY, replaced_nonce=a_refresh().token.nonce_hash
    )

    assert ["family.revoked"] == then.of(FAMILY)
    assert {"reason": "replaced", "actor": "subject"} == fields_of(then.facts[-2], "reason", "actor")
    assert then.verdict.family.id == numbered(1)
    assert fields_of(then.facts[-1], "replaces")["replaces"].startswith("fam_")


def test_whoever_signed_in_before_at_the_same_browser_is_replaced() -> None:
    before = given(a_client(), a_subject(), a_subject(BOB, "bob"), a_family())

    assert [FAMILY] == ended(begun(before, owner=BOB, replaces=FAMILY))


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (given(a_client(), a_subject()), {}),
        (given(a_client(), a_client("mobile"), a_subject(), a_family(name="mobile")), {}),
        (given(a_client(), a_subject(), a_family(nonce="another")), {"replaced_nonce": "nonce"}),
    ],
    ids=["missing", "of another client", "not the holder of a token"],
)
def test_what_cannot_be_replaced_is_left_alone_and_the_sign_in_goes_on(before: Past, more: dict[str, Any]) -> None:
    then = begun(before, replaces=FAMILY, **more)

    assert (Verdict.BEGUN, []) == (then.verdict.verdict, ended(then))
    assert {"replaces": ""} == fields_of(then.facts[-1], "replaces")


# How many live


def test_a_subject_has_at_most_a_hundred_living_families() -> None:
    before = with_families(policy.MAX_LIVING)

    then = begun(before, 200)

    assert [numbered(1000)] == ended(then)
    assert 1 == then.verdict.ended
    assert {"reason": "limit", "actor": "policy"} == fields_of(then.facts[1], "reason", "actor")


def test_ninety_nine_leave_room_for_one_more() -> None:
    assert [] == ended(begun(with_families(policy.MAX_LIVING - 1), 200))


def test_the_hundred_are_counted_over_all_clients() -> None:
    before = with_families(60)
    more = [a_family(numbered(3000 + n), ALICE, "mobile", after=100 + n) for n in range(40)]

    then = begun(Past((*before.told, *more)), 300, client="mobile")

    assert [numbered(1000)] == ended(then)


def test_a_client_may_allow_fewer_and_counts_only_its_own() -> None:
    before = with_families(3, family_limit=3)
    mobile = a_family(numbered(2000), ALICE, "mobile")
    then = begun(Past((*before.told, mobile)), 200)

    assert [numbered(1000)] == ended(then)
    assert [] == ended(begun(Past((*before.told, mobile)), 200, client="mobile"))


def test_a_limit_that_was_lowered_is_kept_from_the_next_sign_in_on() -> None:
    assert [numbered(1000 + n) for n in range(4)] == ended(begun(with_families(5, family_limit=2), 200))


def test_a_never_refreshed_one_of_the_same_device_goes_first() -> None:
    used = with_families(3, family_limit=3)
    for number in range(2):
        used = used.and_then(_refresh_of(1000 + number), 100 + number)

    assert [numbered(1002)] == ended(begun(used, 200))


def test_a_never_refreshed_one_of_another_device_waits_for_its_turn() -> None:
    used = with_families(3, family_limit=3)
    for number in range(2):
        used = used.and_then(_refresh_of(1000 + number), 100 + number)
    late = Past(one for one in used.told if one.stream != numbered(1002))
    late = Past((*late.told, a_family(numbered(1002), after=150, device_tag="phone@1")))

    assert [numbered(1000)] == ended(begun(late, 200))


def test_then_the_least_recently_used_goes() -> None:
    used = with_families(3, family_limit=3)
    for turn, number in enumerate((1001, 1002, 1000)):
        used = used.and_then(_refresh_of(number), 100 + turn)

    assert [numbered(1001)] == ended(begun(used, 200))


def test_the_one_that_is_replaced_makes_the_room() -> None:
    before = with_families(3, family_limit=3)

    assert [numbered(1001)] == ended(begun(before, 200, replaces=numbered(1001)))


def test_families_that_have_ended_take_no_room() -> None:
    before = with_families(3, family_limit=3).and_then(_revoke_of(1001), 100)

    assert [] == ended(begun(before, 200))


def _refresh_of(number: int) -> Any:
    return family.refresh(a_refresh(1, numbered(number)))


def _revoke_of(number: int) -> Any:
    return ending.revoke(numbered(number), "cli", "left")
