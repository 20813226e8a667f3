"""Work behind an answer ends before the service does, and costs nobody anything when it fails."""

import asyncio

from core.behind import Behind


async def test_closing_waits_for_what_goes_on_and_for_what_that_began() -> None:
    behind, done = Behind(), []

    async def work(left: int) -> None:
        await asyncio.sleep(0)
        done.append(left)
        if left:
            behind.begin(work(left - 1))

    behind.begin(work(2))
    await behind.close()

    assert [2, 1, 0] == done


async def test_what_fails_behind_an_answer_is_not_raised_at_the_end() -> None:
    behind, tried = Behind(), []

    async def fail() -> None:
        tried.append(True)
        raise OSError

    behind.begin(fail())
    await behind.close()

    assert [True] == tried
