"""The page on one host, the service on another of the same site, over TLS: as it is deployed."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import PASSWORD
from tests.example import Example, Visitor, browser, visitor
from tests.kit_pages import FAILURE, heard
from tests.ports import free_port
from tests.test_browser_kit import bare, signed_in

HOSTS = "--host-resolver-rules=MAP *.example.test 127.0.0.1"


def certified(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.test")])
    today = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, today, today + dt.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("*.example.test")]), critical=False)
    plain = serialization.NoEncryption()
    kept = serialization.PrivateFormat.PKCS8
    file = folder / "tls.pem"
    file.write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, kept, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def ending_tls(front: int, behind: int, context: ssl.SSLContext) -> AsyncIterator[None]:
    """What comes to `front` over TLS goes on to `behind` without."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    server = await asyncio.start_server(forward, "127.0.0.1", front, ssl=context)
    try:
        yield
    finally:
        server.close()


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Visitor]:
    """A browser that knows `login.example.test` and `app.example.test`."""
    login, app = free_port(), free_port()
    page, ledger = f"https://app.example.test:{app}", f"https://login.example.test:{login}"
    example = Example(tmp_path, LEDGER_PUBLIC_URL=ledger, LEDGER_ALLOWED_ORIGINS=page)
    async with AsyncExitStack() as stack:
        stack.enter_context(example.serving())
        context = certified(tmp_path)
        await stack.enter_async_context(ending_tls(login, example.place.port, context))
        await stack.enter_async_context(ending_tls(app, example.port, context))
        example.page, example.ledger = page, ledger
        opened = await stack.enter_async_context(browser(HOSTS))
        yield await visitor(opened, example, ignore_https_errors=True)


async def test_a_page_on_another_host_of_the_site_refreshes_and_signs_out(one: Visitor) -> None:
    first = await signed_in(one)
    readable = await first.evaluate("document.cookie")
    await first.close()
    page = await bare(one)
    goes_on = await page.evaluate("ledger.start()")
    await page.evaluate("ledger.signOut()")
    again = await page.evaluate(f"ledger.getAccessToken().catch({FAILURE})")

    assert ("", True, [200]) == (readable, goes_on, one.statuses)
    assert ["signed_in", "signed_out"] == await heard(page)
    assert {"code": "signed_out", "status": 401, "retryAfter": 0} == again
    assert [] == (await one.context.storage_state())["cookies"]


async def test_a_page_that_is_in_no_list_gets_nothing(one: Visitor) -> None:
    one.example.page = one.example.page.replace("app.", "other.")
    page = await bare(one)
    refused = await page.evaluate(
        f"(password) => ledger.signIn({{ username: 'admin', password }}).catch({FAILURE})", PASSWORD
    )

    assert {"code": "TypeError"} == refused, "the browser does not let it read the answer"
