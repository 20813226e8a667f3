"""Device and network of a request, and the tags that stand for them in events."""

import re
import time

import pytest

from core.presence import Presence, clean_agent, describe, warm_up

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Safari/537.36"
)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.3 Mobile/15E148 Safari/604.1"
)
KEY = b"k" * 32
ALICE = b"\x00" + b"a" * 15
BOB = b"\x00" + b"b" * 15


@pytest.mark.parametrize(
    ("agent", "device", "shown"),
    [
        (CHROME, "Chrome|Windows", "Chrome 147 · Windows"),
        (SAFARI, "Mobile Safari|iOS", "Mobile Safari 18 · iOS"),
        ("curl/8.5.0", "curl|Other", "curl 8"),
        ("OurApp/1.2 (build 7)", "OurApp|Other", "OurApp"),
        ("", "Other|Other", "Other"),
    ],
)
def test_an_agent_means_a_browser_family_and_a_system(agent: str, device: str, shown: str) -> None:
    assert Presence("203.0.113.7", agent).device == device
    assert describe(agent) == shown


def test_an_update_of_the_browser_is_no_new_device() -> None:
    updated = CHROME.replace("147", "148")

    assert Presence("", CHROME).device_tag(KEY, ALICE) == Presence("", updated).device_tag(KEY, ALICE)


def test_an_unknown_program_cannot_forge_the_device_of_a_known_one() -> None:
    assert Presence("", "Chrome|Windows").device != Presence("", CHROME).device


def test_a_tag_is_eleven_characters_of_base64url() -> None:
    presence = Presence("203.0.113.7", CHROME)

    assert re.fullmatch(r"[A-Za-z0-9_-]{11}", presence.device_tag(KEY, ALICE))
    assert re.fullmatch(r"[A-Za-z0-9_-]{11}", presence.network_tag(KEY, ALICE))


def test_tags_differ_by_owner_key_kind_value_and_bound_key() -> None:
    presence = Presence("203.0.113.7", CHROME)
    tags = {
        presence.device_tag(KEY, ALICE),
        presence.device_tag(KEY, BOB),
        presence.device_tag(b"x" * 32, ALICE),
        presence.device_tag(KEY, ALICE, bound="thumbprint"),
        presence.network_tag(KEY, ALICE),
        Presence("203.0.113.7", SAFARI).device_tag(KEY, ALICE),
        Presence("198.51.100.7", CHROME).network_tag(KEY, ALICE),
    }

    assert len(tags) == 7


def test_the_network_tag_is_of_the_network_and_not_of_the_address() -> None:
    assert Presence("203.0.113.7").network_tag(KEY, ALICE) == Presence("203.0.113.99").network_tag(KEY, ALICE)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"curl/8.5.0", "curl/8.5.0"),
        (b'x\r\n{"level":"info"}', 'x{"level":"info"}'),
        (b"\x1b]0;x\x07done", "]0;xdone"),
        ("a\u202eb\u2028c\x85d".encode(), "abcd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("Bücher/1".encode(), "Bücher/1"),
        (b"x" * 1_000_000, "x" * 512),
        (("é" * 9000).encode(), "é" * 512),
    ],
)
def test_an_agent_is_kept_without_control_characters_and_cut(raw: bytes, kept: str) -> None:
    assert clean_agent(raw) == kept


def test_both_tags_of_a_known_agent_take_microseconds() -> None:
    warm_up()
    presence = Presence("203.0.113.7", CHROME)
    best = float("inf")
    for _ in range(20):
        started = time.thread_time()
        for _ in range(200):
            presence.device_tag(KEY, ALICE)
            presence.network_tag(KEY, ALICE)
        best = min(best, (time.thread_time() - started) / 200)

    assert best < 50e-6  # 5 µs on a quiet core
