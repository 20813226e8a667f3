"""How long the dashboard's pages take on a large ledger: `python -m bench.pages FOLDER [URL] [--keep]`.

FOLDER holds `data` and `checkpoints` as `session-ledger demo --families 100000` made them, or `--bulk 2500000` for five
million events; it is added to (a user, a session, what looking writes down). URL is the ledger's database where that is
no file there; then FOLDER/data holds only the master key. Each page is asked for in turn, in this process, through the
edge, three times over; the quietest of the three counts, for what else runs on a machine only adds to it. With `--keep`
the table is written to docs/performance.md.
"""

import asyncio
import gc
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import click
import httpx
import structlog

import app
from bench import parts
from core.action import MAX_SELECTION, Selection
from core.passwords import Hasher
from events import action, family, ids, subject
from events.actions import ActionReader
from events.budget import TooSlow
from events.decision import Origin
from events.family import TokenReuseDetected
from events.fields import FAMILIES
from events.filters import Query, parse
from settings import Settings

ROUNDS = 60
TURNS = 3
NAME, PASSWORD = "bench-pages", "plum-violet-otter-93-lantern"
URL = "http://localhost:8000"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Origin": URL}
WANTED = {"/dashboard": 50}
"""Milliseconds at most, where it is not 100."""
_ID = re.compile(r"\b(fam|sub|act)_[a-z2-7]{26}")


class Page(NamedTuple):
    """One page, asked for again and again; times in milliseconds."""

    path: str
    p50: float
    p95: float
    kib: float
    status: int

    @property
    def fits(self) -> bool:
        """Whether it is as fast and as small as it must be."""
        return self.status == 200 and self.p95 < WANTED.get(self.path, 100) and self.kib <= 64


async def measured(folder: Path, url: str = "") -> tuple[int, list[Page]]:
    """The events of the ledger, and every kind of page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    given = {"data_dir": folder / "data", "checkpoint_dir": folder / "checkpoints", "rate_limits": False}
    if url:
        given |= {"database_url": url, "master_key": (folder / "data" / "master-key").read_text("utf-8").strip()}
    service = app.prepare(Settings.model_validate(given), Hasher(memory_kib=64, time_cost=1))
    await service.start()
    try:
        await service.living.run()
        await service.subjects.register(NAME, PASSWORD, "admin", "cli")
        transport = httpx.ASGITransport(app.create_app(service), client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers=BROWSER) as http:
            cookie, found = await _signed_in(http), list[Page]()
            events = (await service.history.head()).size
            gc.collect()
            gc.freeze()  # as `serve` does before it answers
            paths = await _pages(service)
            for path in paths * TURNS:
                page, cookie = await _measure(http, path, cookie)
                found.append(page)
        return events, [min(found[number :: len(paths)], key=lambda one: one.p95) for number in range(len(paths))]
    finally:
        await service.stop()


def part(engine: str, events: int, pages: Sequence[Page]) -> str:
    """The page's part: p50 and p95 in milliseconds, KiB of HTML, and whether that is what is wanted."""
    rows = "\n".join(map(_row, pages))
    slowest = max(pages, key=lambda one: one.p95)
    return f"""# Pages, {engine}

`python -m bench.pages` measures this; last on {datetime.now(tz=UTC):%Y-%m-%d}: {events:,} events, {ROUNDS} requests for
each page, in the process of the service, the quietest of {TURNS} times. The slowest has a p95 of {slowest.p95:.0f} ms;
wanted are less than 100, of the overview less than 50.

| page | p50, ms | p95, ms | KiB | |
| --- | --- | --- | --- | --- |
{rows}
"""


def _row(one: Page) -> str:
    path, state = _ID.sub(r"\1_…", one.path), "met" if one.fits else f"**not met** ({one.status})"
    return f"| `{path}` | {one.p50:.1f} | {one.p95:.1f} | {one.kib:.1f} | {state} |"


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("url", default="")
@click.option("--keep", is_flag=True, help="Write the part of docs/performance.md.")
def main(folder: Path, url: str, *, keep: bool) -> None:
    """Open each of the dashboard's pages again and again on a large ledger, and print how long they took.

    FOLDER holds `data` and `checkpoints`; URL is the ledger's database where that is no file there.
    """
    engine = "PostgreSQL" if url else "SQLite"
    text = part(engine, *asyncio.run(measured(folder, url)))
    click.echo(text)
    if keep:
        parts.put(f"pages_{engine.lower()}", text)


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
        await _frozen(service),
        await _receipt(service),
        "/dashboard/actions",
        "/dashboard/keys",
        "/dashboard/system",
        "/dashboard/access",
    ]


async def _frozen(service: app.Service) -> str:
    """The preview of the largest selection that one action takes; nothing ends."""
    living = parse("is:living", FAMILIES)
    assert isinstance(living, Query)
    found = await service.family_search.living(living, service.writer.now(), MAX_SELECTION)
    if isinstance(found, TooSlow):
        raise SystemExit("Living sessions were not found in time.")
    stream, size = service.actions.new_id(), (await service.history.head()).size
    await service.actions.plan(Selection(stream, "cli", "", size, tuple(found)), Origin())
    return f"/dashboard/kills/{ids.to_text(action.PREFIX, stream)}"


async def _receipt(service: app.Service) -> str:
    """Of the action that has ended most of late."""
    done = [one for one in await ActionReader(service.engine).latest(200) if one.status == action.FINISHED]
    largest = max(done, key=lambda one: one.ended, default=None)
    return f"/dashboard/actions/{ids.to_text(action.PREFIX, largest.id)}" if largest else "/dashboard/actions"


async def _measure(http: httpx.AsyncClient, path: str, cookie: str) -> tuple[Page, str]:
    """Ask for one page again and again; the cookie goes on, as in a browser."""
    took, size, status = [], 0, 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await http.get(path, headers={"Cookie": cookie})
        took.append((time.perf_counter() - began) * 1000)
        size, status = len(answer.content), answer.status_code
        cookie = answer.headers.get("set-cookie", cookie).partition(";")[0]
    return Page(path, median(took), quantiles(took, n=20)[-1], size / 1024, status), cookie


if __name__ == "__main__":
    main()
