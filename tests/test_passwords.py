"""Passwords: which may be set, and how they are hashed without keeping anybody else waiting."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import passwords
from core.password import MAX_BYTES, MAX_LENGTH, MIN_LENGTH, Banned, Reason, check, normalise
from core.passwords import Busy, Hasher, load_banned

PROJECT = Path(__file__).parents[1]
BANNED = load_banned(["Example Company", "auth.example.test"])
GOOD = "violet anchor seventeen"


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    made = Hasher(memory_kib=64, time_cost=1, threads=1)
    yield made
    made.close()


def reason(password: str, name: str = "alice") -> Reason | None:
    found = check(password, name=name, banned=BANNED)
    return None if found is None else found.reason


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "qmfkzwpvxrtsnbh",
        "QMFKZWPVXRTSNBH",
        "830194657201938",
        "🦉🐝🌵🎈🚲🧭🪁🧊🥕🎻🛶🪵🧶🪴🎺",
        "         lonely spaces         ",
        "пароль из русских слов",
        "alice likes her violet anchor",
        "the session of 17 violet anchors",
    ],
)
def test_a_long_password_of_any_characters_may_be_set(password: str) -> None:
    assert None is reason(password)


def test_fifteen_code_points_are_enough_and_fourteen_are_not() -> None:
    assert [None, Reason.TOO_SHORT] == [reason("qmfkzwpvxrtsnbh"), reason("qmfkzwpvxrtsnb")]


def test_length_is_counted_after_normalisation() -> None:
    assert Reason.TOO_SHORT == reason("qmfkzwpvxrtsne\u0301")
    assert None is reason("qmfkzwpvxrtsnbe\u0301")


@pytest.mark.parametrize(
    "password",
    ["qm" + "0123456789abcdef" * 16, "ф" * 300, "\N{PILE OF POO}ab" * 200, "x" * 100_000, "x" * 10_000_000],
)
def test_a_password_that_is_too_long_is_refused_quickly(password: str) -> None:
    started = time.thread_time()
    assert Reason.TOO_LONG == reason(password)
    assert time.thread_time() - started < 0.1


def test_the_longest_password_may_be_set() -> None:
    longest = "".join(chr(0x4E00 + number) for number in range(MAX_LENGTH))
    assert None is reason(longest)
    assert MAX_BYTES >= len(normalise(longest) or b"")


def test_what_is_not_text_is_refused() -> None:
    assert Reason.NOT_TEXT == reason("violet anchor \ud800 seventeen")


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "PasswordPassword",
        "123456789012345",
        "qwertyuiopasdfgh",
        "iloveyouiloveyou",
        "correcthorsebatterystaple",
        "Correct Horse Battery Staple",
        "1qaz2wsx3edc4rfv",
        "january2026january",
        "abcdefghijklmno",
        "zyxwvutsrqponmlk",
        "passwordqwerty123",
        "thequickbrownfox",
        "administrator123",
        "Welcome123456789",
    ],
)
def test_a_common_password_is_refused_in_any_case(password: str) -> None:
    assert Reason.COMMON == reason(password)


@pytest.mark.parametrize(
    "password", ["kwzkwzkwzkwzkwz", "plover-plover-plover", "????????????????", "abcabcabcabcabcab"]
)
def test_a_password_that_repeats_itself_is_refused(password: str) -> None:
    assert Reason.REPEATED == reason(password)


@pytest.mark.parametrize(
    "password",
    [
        "session-ledger-2026",
        "SessionLedger2026!",
        "session-2026-session-ledger",
        "s3ssi0n-l3dg3r-99",
        "admin-dashboard-1!",
        "examplecompany2026",
        "Auth.Example.Test-1",
        "alice-2026-alice",
        "Alice.Alice.2026",
        "ecila-alice-2026",
    ],
)
def test_a_password_made_of_names_that_everybody_knows_is_refused(password: str) -> None:
    assert Reason.GUESSABLE == reason(password)


def test_parts_of_a_login_name_count_as_names() -> None:
    assert Reason.GUESSABLE == reason("bob-archer-2026", "bob.archer@example.test")
    assert None is reason("bob-archer-2026", "charlie")


def test_every_reason_comes_with_a_sentence() -> None:
    weakness = check("short", name="alice", banned=BANNED)
    assert weakness is not None
    assert ("password_too_short", "15 characters") == (weakness.reason, weakness.text[13:26])


def test_the_shipped_list_has_thousands_of_lines_that_the_policy_would_allow() -> None:
    assert 3000 < len(BANNED.common)
    assert [] == [line for line in BANNED.common if len(line) < MIN_LENGTH or line != line.casefold()]


def test_the_shipped_list_is_what_its_script_writes() -> None:
    before = (PROJECT / "core/common_passwords.txt").read_text()
    script = "import generate_passwords as g; print('\\n'.join((g.HEAD, *g.guesses())))"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT / "docs", capture_output=True, text=True, check=True
    )
    assert before == ran.stdout


def test_a_list_of_ones_own_replaces_the_shipped_one() -> None:
    weakness = check(GOOD.upper(), name="alice", banned=Banned(frozenset({GOOD})))
    assert weakness is not None
    assert Reason.COMMON == weakness.reason


async def test_the_right_password_is_verified_and_others_are_not(hasher: Hasher) -> None:
    phc = await hasher.hash(GOOD)
    tries = [GOOD, GOOD.upper(), GOOD + " ", " " + GOOD, GOOD[:-1], "", GOOD + "\0"]
    assert [True] + [False] * 6 == [await hasher.verify(phc, one) for one in tries]


async def test_all_of_a_long_password_counts(hasher: Hasher) -> None:
    long = "".join(chr(0x4E00 + number) for number in range(MAX_LENGTH))
    phc = await hasher.hash(long)
    assert [True, False, False] == [await hasher.verify(phc, one) for one in (long, long[:72], long[:-1])]


async def test_composed_and_decomposed_letters_are_one_password(hasher: Hasher) -> None:
    phc = await hasher.hash("caf\u00e9 violet anchor")
    assert await hasher.verify(phc, "cafe\u0301 violet anchor")


async def test_two_hashes_of_one_password_differ(hasher: Hasher) -> None:
    assert await hasher.hash(GOOD) != await hasher.hash(GOOD)


@pytest.mark.parametrize("password", ["\ud800", "x" * 5000, "ф" * 600])
async def test_what_cannot_be_a_password_is_never_the_right_one(hasher: Hasher, password: str) -> None:
    assert [False, False] == [await hasher.verify(await hasher.hash(one), password) for one in (GOOD, "")]
    with pytest.raises(ValueError, match="cannot be hashed"):
        await hasher.hash(password)


@pytest.mark.parametrize("phc", ["", "garbage", "$argon2id$v=19$m=64,t=1,p=1$AAAA", "$2b$12$abc"])
async def test_a_hash_that_is_none_verifies_nothing(hasher: Hasher, phc: str) -> None:
    assert not await hasher.verify(phc, GOOD)


async def test_nobody_has_no_password(hasher: Hasher) -> None:
    assert not await hasher.verify_nobody("")
    assert not await hasher.verify_nobody(GOOD)


async def test_other_parameters_are_noticed(hasher: Hasher) -> None:
    phc = await hasher.hash(GOOD)
    assert [False, True] == [hasher.needs_rehash(phc), hasher.needs_rehash(phc.replace("m=64", "m=128"))]


async def test_the_default_cost_is_what_the_standards_ask_for() -> None:
    """ASVS 11.4.2: argon2id with at least 47,104 KiB in one pass."""
    hasher = Hasher(threads=1)
    phc = await hasher.hash(GOOD)
    assert re.match(r"\$argon2id\$v=19\$m=65536,t=1,p=1\$", phc)
    assert await hasher.verify(phc, GOOD)
    hasher.close()


async def test_nobody_costs_as_much_as_somebody() -> None:
    hasher = Hasher(threads=1)
    phc = await hasher.hash(GOOD)
    somebody: list[float] = []
    nobody: list[float] = []
    for _ in range(9):
        for spent, work in ((somebody, hasher.verify(phc, "wrong")), (nobody, hasher.verify_nobody("wrong"))):
            started = time.perf_counter()
            await work
            spent.append(time.perf_counter() - started)
    hasher.close()
    assert 0.5 < min(nobody) / min(somebody) < 2


async def test_a_storm_is_turned_away_at_once_and_the_rest_is_served() -> None:
    hasher = Hasher(memory_kib=8192, time_cost=1, threads=1, waiting=4)
    found = await asyncio.gather(*(hasher.verify_nobody(GOOD) for _ in range(50)), return_exceptions=True)
    assert [5, 45] == [sum(one is False for one in found), sum(isinstance(one, Busy) for one in found)]
    assert 0 == hasher.waiting
    assert await hasher.verify(await hasher.hash(GOOD), GOOD)
    hasher.close()


async def test_a_caller_that_goes_away_gives_its_place_back() -> None:
    hasher = Hasher(memory_kib=8192, time_cost=1, threads=1, waiting=2)
    tasks = [asyncio.create_task(hasher.verify_nobody(GOOD)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert [True, 0] == [tasks[2].cancelled(), hasher.waiting]
    hasher.close()


async def test_the_event_loop_is_not_held_up_by_hashing() -> None:
    hasher = Hasher(threads=1)
    work = asyncio.create_task(hasher.verify_nobody(GOOD))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    hasher.close()
    assert turns > 5


async def test_hashing_threads_yield_to_everything_else_where_a_thread_has_a_priority(hasher: Hasher) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = await hasher._run(lambda: os.getpriority(os.PRIO_PROCESS, 0))  # on Linux: of the thread that asks
    lowest = passwords.NICENESS if sys.platform == "linux" else before
    assert (before, max(before, lowest)) == (os.getpriority(os.PRIO_PROCESS, 0), niceness)
