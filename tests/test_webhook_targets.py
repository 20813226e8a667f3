"""Where nothing is ever sent: addresses that are not on the internet, however they are written or looked up."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.outbound import Outbound, Resolve
from core.target import Barred, Reach, is_open, target
from tests.receivers import Answer, Receiver

HERE = ipaddress.ip_network("127.0.0.0/8")
LOCAL = Reach(http=True, networks=(HERE,))

CLOSED = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
)
OPEN = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_on_the_internet_is_closed(address: str) -> None:
    assert not is_open(address)


@pytest.mark.parametrize("address", OPEN)
def test_an_address_on_the_internet_is_open(address: str) -> None:
    assert is_open(address)


def test_a_setting_opens_its_network_only_and_an_ipv4_address_in_whatever_dress() -> None:
    assert is_open("127.0.0.1", (HERE,))
    assert is_open("::ffff:127.0.0.1", (HERE,))
    assert not is_open("10.0.0.1", (HERE,))
    assert not is_open("::1", (HERE,))


REFUSED = (
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://169.254.169.254/latest/meta-data",
    "https://10.1.2.3:8443/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://0177.0.0.1/",
    "https://１２７.0.0.1/",
    "https://localhost./",
    "http://app.example.com/",
    "ftp://app.example.com/",
    "file:///etc/passwd",
    "gopher://app.example.com/",
    "//app.example.com/",
    "https:///hooks",
    "https://user@app.example.com/",
    "https://user:secret@app.example.com/",
    "https://app.example.com@10.0.0.1/",
    "https://app.example.com\\@10.0.0.1/",
    "https://app.example.com/#top",
    "https://app.example.com:0/",
    "https://app.example.com:99999/",
    "https://app.example.com/a b",
    "https://app.example.com/\r\nHost: x",
    "https://exa mple.com/",
    "https://-app.example.com/",
    "https://" + "a" * 2000 + ".example.com/",
    "",
)


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_leads_where_nothing_is_sent_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(Barred) as barred:
        target(url, Reach())

    assert not url or url not in str(barred.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://app.example.com", "app.example.com", 443, "/"),
        ("https://APP.example.com:8443/a/b?c=d", "app.example.com", 8443, "/a/b?c=d"),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
        ("https://8.8.8.8/x", "8.8.8.8", 443, "/x"),
    ],
)
def test_an_ordinary_url_leads_where_it_says(url: str, host: str, port: int, path: str) -> None:
    assert (host, port, path) == target(url, Reach())[1:]


def test_http_takes_a_setting() -> None:
    assert 80 == target("http://app.example.com/", Reach(http=True)).port


def answering(*answers: list[str]) -> Resolve:
    """Each look-up gets the next answer, the last one for ever."""
    left = list(answers)

    async def look_up(_host: str, _port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return look_up


async def failing(_host: str, _port: int) -> list[str]:
    raise OSError


CASES = {
    "a private one": ["10.0.0.1"],
    "the metadata service": ["169.254.169.254"],
    "an open and a private one": ["8.8.8.8", "10.0.0.1"],
    "a private one in IPv6": ["::ffff:10.0.0.1"],
    "an open one and loopback in IPv6": ["8.8.8.8", "::1"],
}


@pytest.mark.parametrize("case", CASES)
async def test_a_name_that_leads_to_a_closed_address_is_barred_when_it_is_given_and_when_it_is_used(case: str) -> None:
    out = Outbound(Reach(http=True), answering(CASES[case]))

    with pytest.raises(Barred):
        await out.check("http://app.example.com/")
    answered = await out.post("http://app.example.com/", {}, b"{}")

    assert (0, "address_barred") == (answered.status, answered.reason)
    await out.close()


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f000001", "127.1", "localhost"])
async def test_what_the_system_takes_for_loopback_is_barred_by_its_address(spelling: str) -> None:
    out = Outbound(Reach(http=True))

    answered = await out.post(f"http://{spelling}:9/", {}, b"{}")

    assert "address_barred" == answered.reason
    await out.close()


async def test_a_name_is_looked_up_once_so_that_a_second_answer_cannot_lead_elsewhere() -> None:
    receiver, asked = Receiver(), []

    async def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    out = Outbound(LOCAL, rebinding)
    first = await out.post(f"http://app.example.com:{receiver.port}/", {}, b"{}")
    second = await out.post(f"http://app.example.com:{receiver.port}/", {}, b"{}")

    receiver.close()
    await out.close()
    assert (204, "address_barred") == (first.status, second.reason)
    assert ["app.example.com"] * 2 == asked
    assert [f"app.example.com:{receiver.port}"] == [one.headers["host"] for one in receiver.arrived]


async def test_a_name_that_nobody_knows_is_no_reason_to_refuse_it_and_fails_when_it_is_used() -> None:
    out = Outbound(Reach(http=True), failing)

    await out.check("http://app.example.com/")

    assert "name_unresolved" == (await out.post("http://app.example.com/", {}, b"{}")).reason
    await out.close()


async def test_an_answer_without_end_is_read_to_a_bound_only() -> None:
    receiver = Receiver()
    receiver.answers = lambda _: Answer(400, body=b"x" * 5_000_000)
    out = Outbound(LOCAL)

    async with asyncio.timeout(5):
        answered = await out.post(receiver.url, {}, b"{}")

    receiver.close()
    await out.close()
    assert (400, "http_400") == (answered.status, answered.reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"err":"invalid_key","description":"no such kid"}', "invalid_key"),
        (b'{"err":"<script>"}', "http_400"),
        (b'{"err":7}', "http_400"),
        (b"\xff", "http_400"),
        (b"", "http_400"),
    ],
)
async def test_of_what_a_receiver_says_only_a_known_code_is_kept(body: bytes, reason: str) -> None:
    receiver = Receiver()
    receiver.answers = lambda _: Answer(400, body=body)
    out = Outbound(LOCAL)

    answered = await out.post(receiver.url, {}, b"{}")

    receiver.close()
    await out.close()
    assert reason == answered.reason


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name shows, and what trusts nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


async def test_tls_is_verified_for_the_name_though_the_connection_goes_to_the_address(tmp_path: Path) -> None:
    server, trust = certificate(tmp_path, "app.example.com")
    receiver = Receiver(tls=server)
    here = answering(["127.0.0.1"])
    cases = {
        "its name": (f"https://app.example.com:{receiver.port}/", trust),
        "another name": (f"https://other.example.com:{receiver.port}/", trust),
        "nobody trusts it": (f"https://app.example.com:{receiver.port}/", None),
    }
    found = {}
    for case, (url, context) in cases.items():
        out = Outbound(LOCAL, here, context)
        answered = await out.post(url, {}, b"{}")
        found[case] = (answered.status, answered.reason)
        await out.close()
    receiver.close()

    assert {"its name": (204, ""), "another name": (0, "tls_failed"), "nobody trusts it": (0, "tls_failed")} == found
