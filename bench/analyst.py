"""Refreshes beside an analyst who opens a search page each second: `python -m bench.analyst`. Prints the ratio."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from statistics import median

import httpx

from bench.population import PASSWORD
from bench.process import cores
from bench.refreshes import Applications, pin

PAIRS = 7
SECONDS = 4.0
CONNECTIONS = 64
PAGE = "/dashboard/events?q=type:token.rotated"


async def main() -> None:
    """Pairs of runs, one right after the other: alone, and with the analyst."""
    load_core, server_core = cores()
    pin(load_core)
    with tempfile.TemporaryDirectory() as folder, Applications(Path(folder), server_core, ("ledger",)) as applications:
        chains = await applications.open("ledger", CONNECTIONS)
        url = f"http://127.0.0.1:{applications.port('ledger')}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            cookie = await _signed_in(http, applications.port("ledger"))
            await applications.run("ledger", chains, 1.0)
            ratios = []
            for _ in range(PAIRS):
                alone = await applications.run("ledger", chains, SECONDS)
                looking = asyncio.create_task(_look(http, cookie))
                beside = await applications.run("ledger", chains, SECONDS)
                looking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await looking
                ratios.append(beside.load.rate / alone.load.rate)
                print(f"{alone.load.rate:8.0f}/s alone {beside.load.rate:8.0f}/s beside {ratios[-1]:6.2f}")
    print(f"{median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f}), wanted at least 0.9")


async def _signed_in(http: httpx.AsyncClient, port: int) -> str:
    """As a page of the service's own origin; the cookie is sent by hand, because it is Secure and this is http."""
    own = {"Origin": f"http://localhost:{port}", "Sec-Fetch-Site": "same-origin"}
    answer = await http.post("/dashboard/sign-in", data={"name": "admin", "password": PASSWORD}, headers=own)
    if answer.status_code != httpx.codes.SEE_OTHER:
        raise SystemExit(f"Signing in was answered {answer.status_code}.")
    return answer.headers["set-cookie"].partition(";")[0]


async def _look(http: httpx.AsyncClient, cookie: str) -> None:
    while True:
        answer = await http.get(PAGE, headers={"Cookie": cookie, "Accept": "text/html"})
        if answer.status_code != httpx.codes.OK:
            raise SystemExit(f"The page was answered {answer.status_code}.")
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
