"""Names that others gave are looked up beside everything else: a slow one makes nobody wait who did not ask for it."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from core import names, outbound, serving
from core.names import Names
from core.outbound import UNRESOLVED, Outbound
from core.target import Reach

SLOW = "slow"


class Resolver:
    """What the system may be: names that begin with `slow` are answered when we say so, `nobody` never exists."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host.startswith(SLOW):
            self.answers.wait(30)
        if host == "nobody":
            raise OSError("no such name")
        return [f"203.0.113.{len(host)}"]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.answers.set()


async def test_addresses_are_those_of_the_system() -> None:
    assert ["127.0.0.1"] == await Names()("127.0.0.1", 443)
    with pytest.raises(UnicodeError):
        await Names()(f"{'a' * 64}.example", 443)


async def test_a_slow_name_holds_up_no_other_name_and_no_other_thread(resolver: Resolver) -> None:
    look = Names(resolver)
    slow = [asyncio.create_task(look(f"{SLOW}{number}", 443)) for number in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert ["203.0.113.5"] == await look("other", 443)
        await asyncio.to_thread(lambda: None)
        await asyncio.get_running_loop().getaddrinfo("localhost", 443)
    resolver.answers.set()
    assert 20 == len(await asyncio.gather(*slow))


async def test_who_asks_for_the_same_shares_the_answer_and_whoever_gives_up_spoils_it_for_nobody(
    resolver: Resolver,
) -> None:
    look = Names(resolver)
    first, second = (asyncio.create_task(look(SLOW, 443)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    resolver.answers.set()

    assert ["203.0.113.4"] == await second
    assert [SLOW] == resolver.asked
    await look(SLOW, 443)
    assert [SLOW, SLOW] == resolver.asked


async def test_what_went_wrong_is_told_to_all_who_wait(resolver: Resolver) -> None:
    look = Names(resolver)
    told = await asyncio.gather(look("nobody", 443), look("nobody", 443), return_exceptions=True)
    assert [True, True] == [isinstance(one, OSError) for one in told]


async def test_beyond_so_many_a_name_counts_as_unknown(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST", 2)
    look = Names(resolver)
    slow = [asyncio.create_task(look(f"{SLOW}{number}", 443)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await look("other", 443)
    resolver.answers.set()
    await asyncio.gather(*slow)
    assert ["203.0.113.5"] == await look("other", 443)


@pytest.mark.alone
@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_stop_waits_for_no_name_that_is_still_looked_up(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, *, uvloop: bool
) -> None:
    monkeypatch.setattr(outbound, "CONNECT_SECONDS", 0.2)

    async def served() -> str:
        sender = Outbound(Reach(), Names(resolver))
        answers = await asyncio.gather(*(sender.post(f"https://{SLOW}{n}.example/", {}, b"") for n in range(8)))
        await sender.close()
        return answers[0].reason

    began = time.monotonic()
    with asyncio.Runner(loop_factory=serving.new_loop if uvloop else asyncio.new_event_loop) as runner:
        assert UNRESOLVED == runner.run(served())
    assert time.monotonic() - began < 5
