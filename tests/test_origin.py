"""Who may use the cookies (attack 19): the whole matrix of Sec-Fetch-Site and Origin, and the CSRF token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.origin import (
    CROSS_SITE,
    FOREIGN_ORIGIN,
    NO_PROOF,
    REPEATED,
    UNKNOWN_SITE,
    csrf_matches,
    csrf_token,
    judge,
    origin_of,
)

OWN = "https://auth.example.test"
APP = "https://app.example.test"
EVIL = "https://evil.test"
KEY = b"k" * 32
FAMILY = b"\x00" * 16


@pytest.mark.parametrize(
    ("site", "origin", "reason"),
    [
        ("same-origin", OWN, None),
        ("same-origin", None, None),
        ("same-origin", APP, FOREIGN_ORIGIN),
        ("same-origin", EVIL, FOREIGN_ORIGIN),
        ("same-origin", "null", FOREIGN_ORIGIN),
        ("same-site", APP, None),
        ("same-site", OWN, FOREIGN_ORIGIN),
        ("same-site", None, FOREIGN_ORIGIN),
        ("same-site", EVIL, FOREIGN_ORIGIN),
        ("same-site", "null", FOREIGN_ORIGIN),
        ("cross-site", OWN, CROSS_SITE),
        ("cross-site", APP, CROSS_SITE),
        ("cross-site", None, CROSS_SITE),
        ("none", OWN, None),
        ("none", APP, FOREIGN_ORIGIN),
        ("none", None, NO_PROOF),
        ("none", "null", FOREIGN_ORIGIN),
        (None, OWN, None),
        (None, APP, None),
        (None, EVIL, FOREIGN_ORIGIN),
        (None, "null", FOREIGN_ORIGIN),
        (None, "", FOREIGN_ORIGIN),
        (None, None, NO_PROOF),
        ("", OWN, UNKNOWN_SITE),
        ("Same-Origin", OWN, UNKNOWN_SITE),
        ("same-origin, cross-site", OWN, UNKNOWN_SITE),
    ],
)
def test_every_pair_of_headers_has_its_answer(site: str | None, origin: str | None, reason: str | None) -> None:
    sites = [] if site is None else [site]
    origins = [] if origin is None else [origin]

    assert judge(sites, origins, OWN, frozenset({APP})) == reason


@pytest.mark.parametrize(
    "lookalike",
    [f"{OWN}.evil.test", f"{OWN}/", f"{OWN}:443", f"{OWN}:8443", "http://auth.example.test", "https://AUTH.example.test",
     "https://authXexample.test", "https://evil.test/https://auth.example.test", f" {OWN}"],
)  # fmt: skip
def test_an_origin_that_only_looks_like_ours_is_foreign(lookalike: str) -> None:
    assert judge([], [lookalike], OWN, frozenset({APP})) == FOREIGN_ORIGIN


def test_a_repeated_header_is_refused_even_when_both_are_right() -> None:
    assert judge(["same-origin", "same-origin"], [OWN], OWN, frozenset()) == REPEATED
    assert judge(["same-origin"], [OWN, OWN], OWN, frozenset()) == REPEATED


def test_null_passes_not_even_when_somebody_lists_it() -> None:
    assert judge([], ["null"], OWN, frozenset({"null"})) == FOREIGN_ORIGIN


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://auth.example.test", OWN),
        ("https://Auth.Example.test:443/path?q", OWN),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://localhost:80", "http://localhost"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_our_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["", "auth.example.test", "ftp://a.test", "https://", "https://a@b.test", "https://a:b", "null"]
)
def test_what_is_no_web_address_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        origin_of(url)


def test_the_token_of_a_family_is_accepted_for_that_family_alone() -> None:
    token = csrf_token(KEY, FAMILY)

    assert len(token) == 43
    assert csrf_matches([KEY], FAMILY, token)
    assert not csrf_matches([KEY], b"\x01" * 16, token)
    assert not csrf_matches([b"x" * 32], FAMILY, token)


def test_an_older_key_still_verifies() -> None:
    assert csrf_matches([b"new" * 11, KEY], FAMILY, csrf_token(KEY, FAMILY))


def test_without_a_key_nothing_matches() -> None:
    assert not csrf_matches([], FAMILY, csrf_token(KEY, FAMILY))


@given(st.text(st.characters(codec=None)))
def test_no_text_makes_the_comparison_raise(text: str) -> None:
    assert not csrf_matches([KEY], FAMILY, text)


@pytest.mark.parametrize(
    "text", ["", "é" * 43, "\ud800", "\x00", csrf_token(KEY, FAMILY) + "=", csrf_token(KEY, FAMILY)[:-1]]
)
def test_nearly_the_token_is_not_the_token(text: str) -> None:
    assert not csrf_matches([KEY], FAMILY, text)
