"""Identifiers: one text for each id, and nothing else is one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import ids

ID = st.binary(min_size=16, max_size=16)


@given(ID)
def test_an_id_reads_back_from_its_text(stream: bytes) -> None:
    assert stream == ids.from_text("fam", ids.to_text("fam", stream))


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=26, max_size=26))
def test_every_id_has_exactly_one_text(digits: str) -> None:
    stream = ids.from_text("fam", f"fam_{digits}")

    assert stream is None or ids.to_text("fam", stream) == f"fam_{digits}"


@given(ID)
def test_the_text_is_base32_of_rfc_4648(stream: bytes) -> None:
    expected = base64.b32encode(stream).decode().rstrip("=").lower()

    assert f"sub_{expected}" == ids.to_text("sub", stream)


@pytest.mark.parametrize(
    "text", ["", "fam_", "fam_" + "a" * 25, "fam_" + "a" * 27, "fam_" + "A" * 26, "sub_" + "a" * 26, "fam_" + "7" * 26]
)
def test_anything_else_is_no_family_id(text: str) -> None:
    assert ids.from_text("fam", text) is None


def test_ids_made_later_sort_later() -> None:
    random = bytes(ids.RANDOM_BYTES)

    assert ids.new_id(1_000_000, random) < ids.new_id(2_000_000, random)


def test_the_same_name_is_the_same_stream() -> None:
    assert ids.named_id("client", "web") == ids.named_id("client", "web")
    assert ids.named_id("client", "web") != ids.named_id("log", "web")
