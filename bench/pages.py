"""How long the dashboard's pages take on a large ledger: `python -m bench.pages FOLDER`.

FOLDER holds `data` and `checkpoints` as `session-ledger demo --families 100000` made them; it is added to (a user, a
session, what looking writes down). Each page is asked for in turn, in this process, through the edge.
"""

import asyncio
import gc
import sys
import time
from pathlib import Path
from statistics import median, quantiles

import httpx
import structlog

import app
from core.passwords import Hasher
from events import family, ids, subject
from events.family import TokenReuseDetected
from settings import Settings

ROUNDS = 60
NAME, PASSWORD = "bench-pages", "plum-violet-otter-93-lantern"
URL = "http://localhost:8000"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Origin": URL}
WANTED = {"/dashboard": 50}
"""Milliseconds at most, where it is not 100."""


async def main(folder: Path) -> None:
    """Print a table: page, median and 95th percentile in milliseconds, KiB of HTML, and whether that is fast enough."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    given = {"data_dir": folder / "data", "checkpoint_dir": folder / "checkpoints", "rate_limits": False}
    service = app.prepare(Settings.model_validate(given), Hasher(memory_kib=64, time_cost=1))
    await service.start()
    try:
        await service.living.run()
        await service.subjects.register(NAME, PASSWORD, "admin", "cli")
        transport = httpx.ASGITransport(app.create_app(service), client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers=BROWSER) as http:
            cookie = await _signed_in(http)
            print(f"{(await service.history.head()).size:,} events")
            print(f"{'page':<64} {'p50':>7} {'p95':>7} {'KiB':>6}")
            gc.collect()
            gc.freeze()  # as `serve` does before it answers
            for page in await _pages(service):
                await _measure(http, page, cookie)
    finally:
        await service.stop()


async def _signed_in(http: httpx.AsyncClient) -> str:
    """The cookie is sent by hand: it is Secure, and this is http."""
    answer = await http.post("/dashboard/sign-in", data={"name": NAME, "password": PASSWORD})
    if answer.status_code != 303:
        raise SystemExit(f"Signing in was answered {answer.status_code}.")
    return answer.headers["set-cookie"].partition(";")[0]


async def _pages(service: app.Service) -> list[str]:
    """Every kind of page, about things that are in this ledger."""
    newest = await service.history.before(None, 5_000)
    used = next(one for one in newest if isinstance(one.fact, family.TokenRotated))
    theft = next((one for one in newest if isinstance(one.fact, TokenReuseDetected)), used)
    public_id = ids.to_text(family.PREFIX, theft.stream)
    owner = getattr(used.fact, "subject", "")
    name = (await service.subject_reader.names(frozenset((ids.parse(subject.PREFIX, owner),)))).popitem()[1]
    ip = used.context.ip
    searches = (
        "",
        "type:token.reuse_detected",
        f"user:{name}",
        f"ip:{ip}",
        f"ip:{ip}/24",
        "type:token.* at:7d",
        "op:fail",
    )
    return [
        "/dashboard",
        *(f"/dashboard/events?q={httpx.QueryParams({'q': query})['q']}" for query in searches),
        f"/dashboard/events/{used.position}",
        f"/dashboard/families/{public_id}",
        f"/dashboard/families/{public_id}?as_of={theft.position + 1}",
        f"/dashboard/families/{public_id}/kill",
        "/dashboard/families",
        "/dashboard/families?q=is:living",
        "/dashboard/families?q=is:suspicious",
        f"/dashboard/families?q=user:{name}",
        f"/dashboard/subjects/{owner}",
        f"/dashboard/network/{ip}",
        f"/dashboard/network/{ip}%2F24",
        f"/dashboard/network/{ip}%2F16",
        "/dashboard/actions",
        "/dashboard/keys",
        "/dashboard/system",
        "/dashboard/access",
    ]


async def _measure(http: httpx.AsyncClient, page: str, cookie: str) -> None:
    took, size, status = [], 0, 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await http.get(page, headers={"Cookie": cookie})
        took.append((time.perf_counter() - began) * 1000)
        size, status = len(answer.content), answer.status_code
    p95 = quantiles(took, n=20)[-1]
    fits = status == 200 and p95 < WANTED.get(page, 100) and size <= 64 * 1024
    print(f"{page[:64]:<64} {median(took):7.1f} {p95:7.1f} {size / 1024:6.1f}  {'' if fits else f'NOT MET ({status})'}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
