"""Master keys: what is read and refused, what is derived, what is wrapped."""

import hashlib
import hmac
import secrets

import pytest

from core.master import LABELS, MasterKeys, generate

ONE = hashlib.sha256(b"one").hexdigest()
TWO = hashlib.sha256(b"two").hexdigest()
NONCE = bytes(12)


def test_a_bare_key_is_number_one() -> None:
    assert MasterKeys.parse(f"1:{ONE}").check_value(1) == MasterKeys.parse(ONE).check_value(1)


def test_the_first_key_signs_and_all_verify() -> None:
    keys = MasterKeys.parse(f"7:{TWO}, {ONE}")
    assert (7, (7, 1)) == (keys.current, keys.numbers)
    assert keys.refresh_key(1) == MasterKeys.parse(ONE).refresh_key(1)


def test_what_is_generated_can_be_read() -> None:
    assert (1,) == MasterKeys.parse(generate(secrets.token_bytes(32))).numbers


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        ONE[:-1],
        ONE + "0",
        f"0:{ONE}",
        f"256:{ONE}",
        f"-1:{ONE}",
        f"01:{ONE}",
        f"1:{ONE},1:{TWO}",
        f"1:{ONE},2:{ONE}",
        f"{ONE},",
        "x" * 64,
        f"1:{ONE[:32]}\n{ONE[32:]}",
        "00" * 32,
        "ab" * 32,
        "0123456789abcdef" * 4,
        ONE[:32] * 2,
        bytes(range(32)).hex(),
        bytes(range(64, 32, -1)).hex(),
    ],
)
def test_a_bad_key_is_refused_in_one_sentence_that_does_not_repeat_it(text: str) -> None:
    with pytest.raises(ValueError, match="master key") as caught:
        MasterKeys.parse(text)
    assert not [part for part in text.replace(":", ",").split(",") if len(part) > 3 and part in str(caught.value)]
    assert caught.value.__cause__ is None


def test_every_use_has_a_key_of_its_own() -> None:
    keys = MasterKeys.parse(f"{ONE},2:{TWO}")
    found = [
        method(number)
        for number in keys.numbers
        for method in (keys.refresh_key, keys.tag_key, keys.csrf_key, keys.checkpoint_seed)
    ]
    assert 8 == len(set(found))
    assert {32} == {len(one or b"") for one in found}


def test_the_derived_keys_are_those_of_hkdf_with_our_labels_for_ever() -> None:
    extracted = hmac.digest(bytes(32), bytes.fromhex(ONE), "sha256")
    info = b"session-ledger/1/"
    expected = {label: hmac.digest(extracted, info + label.encode() + b"\x01", "sha256") for label in LABELS}
    keys = MasterKeys.parse(ONE)
    assert [expected["refresh"], expected["tag"], expected["csrf"], expected["checkpoint"]] == [
        keys.refresh_key(1),
        keys.tag_key(1),
        keys.csrf_key(1),
        keys.checkpoint_seed(1),
    ]
    assert expected["check"][:8].hex() == keys.check_value(1)


def test_a_number_that_is_not_here_derives_nothing() -> None:
    keys = MasterKeys.parse(ONE)
    assert [None] * 5 == [
        keys.refresh_key(2),
        keys.tag_key(2),
        keys.csrf_key(2),
        keys.checkpoint_seed(2),
        keys.check_value(2),
    ]


def test_the_check_value_tells_keys_apart_without_being_one() -> None:
    first, other = MasterKeys.parse(ONE).check_value(1), MasterKeys.parse(TWO).check_value(1)
    assert first != other
    assert 16 == len(first or "")


def test_neither_repr_nor_str_shows_a_key() -> None:
    keys = MasterKeys.parse(f"{ONE},2:{TWO}")
    assert "MasterKeys(numbers=(1, 2))" == repr(keys) == str(keys) == f"{keys}"


def test_what_was_wrapped_is_unwrapped() -> None:
    keys = MasterKeys.parse(ONE)
    assert b"private" == keys.unwrap(1, "kid", keys.wrap(1, "kid", b"private", NONCE))


def test_a_new_master_key_still_unwraps_what_the_old_one_wrapped() -> None:
    blob = MasterKeys.parse(ONE).wrap(1, "kid", b"private", NONCE)
    assert b"private" == MasterKeys.parse(f"2:{TWO},1:{ONE}").unwrap(1, "kid", blob)


def test_nothing_is_unwrapped_for_another_kid_number_or_key() -> None:
    blob = MasterKeys.parse(ONE).wrap(1, "kid", b"private", NONCE)
    both = MasterKeys.parse(f"{ONE},2:{TWO}")
    other = MasterKeys.parse(TWO)
    assert [None] * 4 == [
        both.unwrap(1, "other", blob),
        both.unwrap(2, "kid", blob),
        both.unwrap(3, "kid", blob),
        other.unwrap(1, "kid", blob),
    ]


def test_a_blob_with_any_character_changed_is_not_unwrapped() -> None:
    keys = MasterKeys.parse(ONE)
    blob = keys.wrap(1, "kid", b"private", NONCE)
    changed = [blob[:i] + ("A" if blob[i] != "A" else "B") + blob[i + 1 :] for i in range(len(blob))]
    assert {None} == {keys.unwrap(1, "kid", one) for one in changed}


@pytest.mark.parametrize("blob", ["", "A", "é", "AQ==", "AQ" * 6, "!!!!"])
def test_a_blob_that_is_none_is_not_unwrapped(blob: str) -> None:
    assert None is MasterKeys.parse(ONE).unwrap(1, "kid", blob)


def test_wrapping_under_an_unknown_number_or_with_a_short_nonce_is_an_error() -> None:
    keys = MasterKeys.parse(ONE)
    with pytest.raises(ValueError, match="known number"):
        keys.wrap(2, "kid", b"private", NONCE)
    with pytest.raises(ValueError, match="12 random bytes"):
        keys.wrap(1, "kid", b"private", b"short")
