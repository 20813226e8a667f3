"""The ring of signing keys: its rules, given when then, and what a ring made of states signs, verifies, publishes."""

import hashlib
import json
from typing import Any

import pytest

from core import key, pair
from core.key import NewKey, Publish, Revoke, Rotate, Start, Verdict
from core.master import MasterKeys
from core.ring import KeyRing
from events import catalogue
from events.decision import Decide, Decision, Moment, Need, States
from events.key import ACTIVE, NEXT, RETIRED, REVOKED, Key
from events.private import Account

MASTER = MasterKeys.parse(hashlib.sha256(b"test").hexdigest())
MINUTE = 60 * 1_000_000
DAY = 24 * 60 * MINUTE
PERIOD, LEAD, KEEP = 90 * DAY, 10 * MINUTE, 20 * MINUTE
T0 = 1_800_000_000_000_000


def made(number: int, algorithm: str = "EdDSA") -> NewKey:
    one = pair.generate(algorithm)
    wrapped = MASTER.wrap(1, one.kid, one.private, bytes(12))
    return NewKey(key.stream_of(number), one.kid, algorithm, one.public, wrapped, 1)


class Story:
    """Keys as a ledger would hold them: decides, folds what was decided, remembers the verdict."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Key] = {}
        self.at = T0

    def decide(self, decide: Decide) -> Verdict:
        states = States()
        moment = Moment(now=self.at, wall=self.at, arrived=self.at, ready=self.at)
        answer = decide(states, moment)
        while isinstance(answer, Need):
            states.by_stream.update({one: self.keys.get(one) for one in answer.streams.keys})
            answer = decide(states, moment)
        self.fold(answer)
        return Verdict(answer.verdict)

    def fold(self, decision: Decision) -> None:
        for change in decision.changes:
            before = self.keys.get(change.stream)
            after = catalogue.apply(before, change.stream, self.at, change.fact, change.account or Account())
            assert isinstance(after, Key)
            self.keys[change.stream] = after

    @property
    def known(self) -> frozenset[bytes]:
        return frozenset(self.keys)

    @property
    def statuses(self) -> list[str]:
        return [self.keys[key.stream_of(number)].status for number in range(len(self.keys))]

    def start(self, algorithm: str = "EdDSA") -> Verdict:
        return self.decide(key.start(Start(made(0, algorithm), made(1, algorithm), "system")))

    def rotate(self, *, period: int = PERIOD, lead: int = LEAD, algorithm: str = "EdDSA") -> Verdict:
        new = made(len(self.keys), algorithm)
        return self.decide(key.rotate(Rotate(self.known, new, "cli", period, lead, KEEP)))

    def publish(self, algorithm: str = "EdDSA") -> Verdict:
        return self.decide(key.publish(Publish(self.known, made(len(self.keys), algorithm), "system")))

    def revoke(self, number: int) -> Verdict:
        new = made(len(self.keys))
        command = Revoke(self.known, new, "staff:alice", key.stream_of(number), "compromised", "seen in a log")
        return self.decide(key.revoke(command))

    def ring(self) -> KeyRing:
        return KeyRing.of(self.keys.values(), MASTER)

    def kid(self, number: int) -> str:
        return self.keys[key.stream_of(number)].key


@pytest.fixture
def story() -> Story:
    begun = Story()
    begun.start()
    return begun


def test_an_empty_ledger_gets_a_key_that_signs_and_one_that_is_published() -> None:
    story = Story()
    assert Verdict.STARTED == story.start()
    assert [ACTIVE, NEXT] == story.statuses


def test_the_second_of_two_first_starts_changes_nothing(story: Story) -> None:
    before = dict(story.keys)
    assert Verdict.STALE == story.start()
    assert before == story.keys


def test_a_rotation_activates_the_published_key_retires_the_old_one_and_publishes_another(story: Story) -> None:
    story.at += PERIOD
    assert Verdict.ROTATED == story.rotate()
    assert [RETIRED, ACTIVE, NEXT] == story.statuses


def test_a_key_that_is_not_due_goes_on_signing(story: Story) -> None:
    story.at += PERIOD - 1
    assert Verdict.EARLY == story.rotate()
    assert [ACTIVE, NEXT] == story.statuses


def test_a_key_does_not_sign_before_it_was_published_for_long_enough(story: Story) -> None:
    story.at += LEAD - 1
    assert Verdict.EARLY == story.rotate(period=0)
    story.at += 1
    assert Verdict.ROTATED == story.rotate(period=0)


def test_a_person_may_override_the_time_of_publication(story: Story) -> None:
    assert Verdict.ROTATED == story.rotate(period=0, lead=0)


def test_a_retired_key_verifies_until_its_last_token_has_expired(story: Story) -> None:
    story.rotate(period=0, lead=0)
    assert story.at + KEEP == story.keys[key.stream_of(0)].retire_at
    assert (story.at + KEEP) / 1_000_000 == story.ring().verifying[story.kid(0)].until


def test_a_command_that_does_not_know_all_keys_is_stale(story: Story) -> None:
    known, late = story.known, made(2)
    story.rotate(period=0, lead=0)
    commands = (
        key.rotate(Rotate(known, late, "cli", 0, 0, KEEP)),
        key.publish(Publish(known, late, "cli")),
        key.revoke(Revoke(known, late, "cli", key.stream_of(0), "compromised")),
    )
    before = dict(story.keys)
    assert [Verdict.STALE] * 3 == [story.decide(command) for command in commands]
    assert before == story.keys


def test_revoking_the_key_that_signs_lets_the_published_one_take_over(story: Story) -> None:
    assert Verdict.REVOKED == story.revoke(0)
    assert [REVOKED, ACTIVE, NEXT] == story.statuses


def test_revoking_the_published_key_publishes_another(story: Story) -> None:
    assert Verdict.REVOKED == story.revoke(1)
    assert [ACTIVE, REVOKED, NEXT] == story.statuses


def test_revoking_a_retired_key_makes_no_other(story: Story) -> None:
    story.rotate(period=0, lead=0)
    assert Verdict.REVOKED == story.revoke(0)
    assert [REVOKED, ACTIVE, NEXT] == story.statuses


def test_where_no_key_is_published_a_new_one_takes_over_at_once(story: Story) -> None:
    del story.keys[key.stream_of(1)]
    assert Verdict.REVOKED == story.revoke(0)
    assert [REVOKED, ACTIVE] == story.statuses


def test_a_revoked_key_stays_revoked_and_an_unknown_one_is_unknown(story: Story) -> None:
    story.revoke(0)
    before = dict(story.keys)
    assert [Verdict.UNCHANGED, Verdict.UNKNOWN] == [story.revoke(0), story.revoke(99)]
    assert before == story.keys


def test_a_next_key_is_published_only_where_there_is_none(story: Story) -> None:
    assert Verdict.UNCHANGED == story.publish()
    del story.keys[key.stream_of(1)]
    assert Verdict.PUBLISHED == story.publish()
    assert [ACTIVE, NEXT] == story.statuses


def test_a_rotation_without_a_published_key_publishes_one(story: Story) -> None:
    del story.keys[key.stream_of(1)]
    assert Verdict.PUBLISHED == story.rotate(period=0, lead=0)
    assert [ACTIVE, NEXT] == story.statuses


def test_another_algorithm_is_published_first_and_signs_when_it_was(story: Story) -> None:
    assert Verdict.PUBLISHED == story.publish("ES256")
    assert Verdict.EARLY == story.rotate(algorithm="ES256")
    story.at += LEAD
    assert Verdict.ROTATED == story.rotate(algorithm="ES256")
    assert [RETIRED, RETIRED, ACTIVE, NEXT] == story.statuses
    assert "ES256" == story.keys[key.stream_of(2)].algorithm


def test_the_note_that_a_person_typed_is_not_in_the_fact(story: Story) -> None:
    states = States()
    states.by_stream.update({key.stream_of(n): story.keys.get(key.stream_of(n)) for n in range(3)})
    command = Revoke(story.known, made(2), "cli", key.stream_of(0), "compromised", "seen in a log")
    answer = key.revoke(command)(states, Moment(T0, T0, T0, T0))
    assert isinstance(answer, Decision)
    assert Account(note="seen in a log") == answer.changes[0].account
    assert "seen in a log" not in repr(answer.changes[0].fact)


def test_the_active_key_signs_and_all_but_revoked_ones_verify(story: Story) -> None:
    story.rotate(period=0, lead=0)
    story.revoke(2)
    ring = story.ring()
    assert ring.signing is not None
    assert story.kid(1) == ring.signing.kid
    assert {story.kid(0), story.kid(1), story.kid(3)} == set(ring.verifying)


def test_the_jwks_has_the_public_keys_with_use_and_algorithm(story: Story) -> None:
    entries = story.ring().jwks(T0 / 1_000_000)["keys"]
    expected = [
        json.loads(one.public) | {"use": "sig", "alg": "EdDSA", "kid": one.key}
        for one in (story.keys[key.stream_of(0)], story.keys[key.stream_of(1)])
    ]
    assert expected == sorted(entries, key=lambda entry: bool(entry["kid"] == story.kid(1)))


def test_the_jwks_drops_a_retired_key_when_its_last_token_has_expired(story: Story) -> None:
    story.rotate(period=0, lead=0)
    end = (T0 + KEEP) / 1_000_000
    kids = [[entry["kid"] for entry in story.ring().jwks(now)["keys"]] for now in (end - 1, end)]
    assert [True, False] == [story.kid(0) in one for one in kids]
    assert [3, 2] == [len(one) for one in kids]


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_the_jwks_has_no_private_member_and_strong_keys_only(algorithm: str) -> None:
    one = pair.generate(algorithm)
    entry: dict[str, Any] = json.loads(one.public)
    assert set() == {"d", "p", "q", "dp", "dq", "qi", "k", "key_ops"} & entry.keys()
    assert len(entry.get("n", "n" * 512)) == 512  # 3072 bits


def test_an_hs256_key_signs_and_verifies_but_is_never_published() -> None:
    story = Story()
    story.start("HS256")
    ring = story.ring()
    assert ring.signing is not None
    assert {story.kid(0), story.kid(1)} == set(ring.verifying)
    assert {"keys": []} == ring.jwks(T0 / 1_000_000)


def test_a_kid_is_the_thumbprint_of_rfc_7638() -> None:
    """The example of RFC 8037 §A.3, through the same function as every new key."""
    public = '{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
    assert "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" == pair.thumbprint(public)


def test_a_ring_names_the_keys_that_no_master_key_unwraps(story: Story) -> None:
    other = MasterKeys.parse(hashlib.sha256(b"other").hexdigest())
    ring = KeyRing.of(story.keys.values(), other)
    assert None is ring.signing
    assert {story.kid(0), story.kid(1)} == set(ring.unreadable) == set(ring.verifying)


def test_neither_a_pair_nor_a_ring_shows_a_private_key(story: Story) -> None:
    one = pair.generate("HS256")
    shown = repr(one) + repr(story.ring())
    assert repr(one.private) not in shown
    assert "private" not in shown.lower()


def test_an_algorithm_that_is_not_ours_is_refused() -> None:
    for refused in (pair.generate, pair.signer):
        with pytest.raises(ValueError, match="is not one of EdDSA, ES256, RS256, HS256"):
            refused("none")
