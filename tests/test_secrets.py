"""A sweep: nothing that was issued, typed or configured as a secret stands anywhere that people or backups can see."""

import asyncio
import base64
import gc
import io
import logging
import pprint
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

import app
from api.oauth import OAuthTokens
from api.proof import Offered
from api.ssf import Delivery as SsfDelivery
from api.webhooks import Secret as HookSecret
from core import client_assertion, enrolling, enrolment, factor, factors, journal, polling, token
from core.client import Outcome, Rotate
from core.clients import Made
from core.grants import Machine
from core.issued import Issued
from core.judgement import Refresh
from core.posting import Post
from core.subject import Register
from core.visit import SignIn
from core.webhook import Outcome as HookOutcome
from core.webhook import Plan, Wrapped
from core.webhooks import Made as HookMade
from events import factor as past_factor
from events import schema
from events.client import ClientRegistered, begin
from events.ids import to_text
from events.private import Account
from events.sqlite_store import SqliteStore
from events.store import Store
from events.webhook import PREFIX, SET, STANDARD, WebhookRegistered
from events.webhook import begin as begin_hook
from tests import tables, visitors
from tests.applications import application, issued_to
from tests.browsers import Browser
from tests.check import check, forms_of, found_in_files, found_in_store
from tests.conftest import MakeSettings, running, visiting
from tests.keyholders import TYPE, KeyHolder, bound_refresh, told_nonce
from tests.logged import logged
from tests.staff import SECOND, add_app, secret_of
from tests.visitors import PAGE, bearer, cookie_of

VAULT = "s." + secrets.token_hex(12)
"""What the service would prove itself by to a Vault."""
MASTER = "7:" + secrets.token_hex(32) + ",3:" + secrets.token_hex(32)
ADMIN = "birch-lantern-coral-48-piano"
ALICE = "maple-copper-heron-57-violin"
ALICE_NEW = "thistle-amber-walrus-12-flute"
TYPED_AS_NAME = "saffron-otter-meadow-77-cello"
"""People type their password where the name belongs."""
AUTHORIZATION = "Bearer larch-signal-heron-64-tuba"
"""What a receiver of tokens wants to be sent along."""
WRONG = "nettle-harbor-magpie-31-oboe"
FORM = {"Origin": visitors.OWN, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


class Sweep:
    """What was said in a scenario, and the secrets that must not be found in it."""

    def __init__(self, service: app.Service, log: io.StringIO) -> None:
        self.service, self.log = service, log
        self.secrets: set[str | bytes] = {
            ADMIN,
            ALICE,
            ALICE_NEW,
            TYPED_AS_NAME,
            WRONG,
            *re.findall(r"[0-9a-f]{64}", MASTER),
            VAULT,
        }
        for derived in service.master._derived.values():
            self.secrets |= {key for label, key in derived.items() if label != "check"}
        self.refusals: list[str] = []
        self.headers: list[str] = []
        self.pages: list[str] = []

    def hear(self, answer: httpx.Response) -> httpx.Response:
        """Remember what a client got: as a secret where it is one, as said where it may be logged or shown."""
        if answer.status_code >= 400:
            # the sign-in form shows its reader the name that was typed into it, and only there
            self.refusals.append(re.sub(r'(<input id="name" name="name" value=")[^"]*', r"\1", answer.text))
        self.headers += [f"{n}: {v}" for n, v in answer.headers.items() if n != "set-cookie"]
        if answer.headers.get("content-type", "").startswith("application/json") and answer.is_success:
            found = answer.json()
            for name in ("access_token", "refresh_token", "csrf_token"):
                self.keep(found.get(name, ""))
        for cookie in answer.headers.get_list("set-cookie"):
            self.keep(cookie.partition("=")[2].partition(";")[0].strip('"'))
        return answer

    def keep(self, secret: str) -> None:
        """A token and, where it is a refresh token, its nonce."""
        if len(secret) > 8:
            self.secrets.add(secret)
        found = self.service.families.read_token(secret)
        if found is not None:
            self.secrets.add(found.nonce)

    def found_in(self, text: str) -> set[str | bytes]:
        said = text.encode()
        return {secret for secret in self.secrets if any(form in said for form in forms_of(secret))}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service writes to stdout at its most talkative."""
    with logged("debug") as stream:
        logging.getLogger().setLevel(logging.DEBUG)
        yield stream


@pytest.fixture
async def sweep(make_settings: MakeSettings, log: io.StringIO) -> AsyncIterator[Sweep]:
    settings = make_settings(
        master_key=SecretStr(MASTER),
        admin_password=SecretStr(ADMIN),
        vault_token=SecretStr(VAULT),
        vault_secret_id=SecretStr(VAULT),
        public_schema=True,
    )
    async with running(settings) as service:
        await visitors.register(service, password=ALICE)
        swept = Sweep(service, log)
        async with visiting(service) as http:
            await in_body_mode(swept, http)
            await in_cookie_mode(swept, http)
            await by_applications(swept, http)
            await with_keys(swept, http)
        async with visiting(service) as http:
            await at_the_dashboard(swept, http)
            await with_a_second_factor(swept, http)
            await all_that_goes_wrong(swept, http)
        yield swept


async def login(swept: Sweep, http: httpx.AsyncClient, name: str, password: str, **more: Any) -> dict[str, Any]:
    asked = {"username": name, "password": password, "mode": "body"} | more
    found: dict[str, Any] = swept.hear(await http.post("/auth/login", json=asked)).json()
    return found


async def in_body_mode(swept: Sweep, http: httpx.AsyncClient) -> None:
    """Sign in, refresh, a lost answer, look, change the password, a replay, sign out; and wrong passwords."""
    await login(swept, http, TYPED_AS_NAME, ALICE)
    await login(swept, http, "alice", WRONG)
    first = await login(swept, http, "alice", ALICE, device="a laptop")
    for _ in range(2):
        await replay(swept, http, first["refresh_token"])
    mine = bearer(first["access_token"])
    for path in ("/auth/me", "/auth/sessions"):
        swept.hear(await http.get(path, headers=mine))
    swept.hear(await http.post("/auth/password", headers=mine, json={"current": WRONG, "new": ALICE_NEW}))
    swept.hear(await http.post("/auth/password", headers=mine, json={"current": ALICE, "new": "too short"}))
    changed = swept.hear(await http.post("/auth/password", headers=mine, json={"current": ALICE, "new": ALICE_NEW}))
    assert changed.status_code == 200, changed.text
    token = changed.json()["refresh_token"]
    for _ in range(2):
        token = (await replay(swept, http, token)).json()["refresh_token"]
    stolen = await replay(swept, http, changed.json()["refresh_token"])
    assert (401, "token_reused") == (stolen.status_code, stolen.json()["code"])
    await replay(swept, http, token)
    swept.hear(await http.post("/auth/logout", json={"refresh_token": token}))


async def replay(swept: Sweep, http: httpx.AsyncClient, token: str) -> httpx.Response:
    return swept.hear(await http.post("/auth/refresh", json={"refresh_token": token}))


async def in_cookie_mode(swept: Sweep, http: httpx.AsyncClient) -> None:
    signed_in = swept.hear(await visitors.page_sign_in(http, "alice", ALICE_NEW))
    csrf = signed_in.json()["csrf_token"]
    swept.hear(await http.get("/auth/csrf", headers=PAGE))
    swept.hear(await http.post("/auth/refresh", json={}, headers=PAGE | {"X-CSRF-Token": "wrong" + csrf}))
    refreshed = swept.hear(await http.post("/auth/refresh", json={}, headers=PAGE | {"X-CSRF-Token": csrf}))
    assert cookie_of(refreshed, "__Host-refresh-web") in swept.secrets
    swept.hear(await http.post("/auth/logout-all", json={}, headers=PAGE | {"X-CSRF-Token": csrf}))


async def by_applications(swept: Sweep, http: httpx.AsyncClient) -> None:
    """Tokens of clients, asked about and revoked; their secrets right, wrong, old, and where they do not belong."""
    backend = await application(swept.service, scopes="introspect read")
    newer = await swept.service.clients.rotate_secret("backend", "cli", keep=60)
    for secret in (backend.secret, newer.secret):
        swept.keep(secret)
    hook = await swept.service.webhooks.register("", "cli", Plan(STANDARD, url="https://hooks.example.com/hooks"))
    state = await swept.service.webhooks.get(hook.webhook)
    assert state is not None
    newest = await swept.service.webhooks.rotate_secret(state, "cli")
    signals = Plan(SET, url="https://hooks.example.com/caep")
    await swept.service.webhooks.open_stream("backend", "cli", signals, authorization=AUTHORIZATION)
    for secret in (hook.secret, newest.secret, AUTHORIZATION):
        swept.keep(secret)
    grant = {"grant_type": "client_credentials"}
    own = swept.hear(await http.post("/oauth/token", data=grant, auth=backend.basic)).json()["access_token"]
    of_alice = await issued_to(swept.service, "backend", "alice", ALICE_NEW)
    for one in (of_alice.refresh_token, of_alice.access_token):
        swept.keep(one)
    refreshing = {"grant_type": "refresh_token", "refresh_token": of_alice.refresh_token}
    swept.hear(await http.post("/oauth/token", data=refreshing | {"scope": "delete"}, auth=backend.basic))
    swept.hear(await http.post("/oauth/token", data=refreshing, auth=backend.basic))
    for one in (own, of_alice.access_token):
        for path in ("/oauth/introspect", "/oauth/revoke"):
            swept.hear(await http.post(path, data={"token": one}, auth=backend.basic))
            swept.hear(await http.post(path, data={"token": one, "client_id": "web"}))
    for proof in ({"client_secret": backend.secret}, {"client_id": backend.secret}, {"client_id": "web"}):
        swept.hear(await http.post("/oauth/token", data=grant | backend.posted | proof, auth=backend.basic))
        swept.hear(await http.post("/oauth/token", params=grant | proof))
        swept.hear(await http.post("/oauth/token", data={"grant_type": backend.secret, "scope": own} | proof))
    for scheme in ("Basic", "Bearer", ""):
        wrong = {"Authorization": f"{scheme} {newer.secret}"}
        swept.hear(await http.post("/oauth/token", data=grant, headers=wrong))


async def with_keys(swept: Sweep, http: httpx.AsyncClient) -> None:
    """A session that is bound to a key and a client that has one: proofs right, wrong, used, and in the wrong place."""
    holder = KeyHolder()
    await application(swept.service, "signer", keys=client_assertion.stored({"keys": [holder.jwk]}), keys_only=1)
    await told_nonce(http, holder)
    proofs = [holder.proof(url=f"{visitors.OWN}/auth/login"), holder.proof(), holder.proof(), holder.proof(iat=1)]
    assertions = [holder.assertion("signer"), holder.assertion("signer", aud="https://elsewhere.example")]
    swept.secrets |= {*proofs, *assertions}
    asked = {"username": "alice", "password": ALICE_NEW, "mode": "body"}
    first = swept.hear(await http.post("/auth/login", json=asked, headers={"DPoP": proofs[0]})).json()
    for proof in (*proofs, proofs[1], assertions[0]):
        swept.hear(await bound_refresh(http, first["refresh_token"], proof))
    for headers in (holder.bound(first["access_token"]), {"Authorization": f"DPoP {proofs[2]}", "DPoP": proofs[2]}):
        swept.secrets.add(headers["DPoP"])
        for _ in range(2):
            swept.hear(await http.get("/auth/me", headers=headers))
    for text in (*assertions, assertions[0], proofs[3]):
        form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text}
        for path in ("/oauth/token", "/oauth/revoke", f"/oauth/token?client_assertion={text}"):
            swept.hear(await http.post(path, data=form | {"token": text}))


async def at_the_dashboard(swept: Sweep, http: httpx.AsyncClient) -> None:
    """The pages of staff."""
    for name, password in (("admin", WRONG), (TYPED_AS_NAME, ADMIN), ("admin", ADMIN)):
        form = {"name": name, "password": password, "next": ""}
        swept.hear(await http.post("/dashboard/sign-in", data=form, headers=FORM))
    hooks = [f"/dashboard/webhooks/{to_text(PREFIX, one.id)}" for one in await swept.service.webhooks.all()]
    for path in ("/dashboard/events", "/dashboard/clients", "/dashboard/clients/backend", *hooks):
        page = swept.hear(await http.get(path, headers=FORM))
        assert page.status_code == 200
        swept.pages.append(page.text)


async def with_a_second_factor(swept: Sweep, http: httpx.AsyncClient) -> None:
    """Add an app, sign in with a recovery code, and put both where they do not belong."""
    staff = Browser(http)
    await staff.opens("/dashboard/me/totp")
    swept.secrets |= {secret_of(staff.page), base64.b32decode(secret_of(staff.page)), staff.hidden["offer"]}
    made, codes = await add_app(staff, time.time())
    swept.secrets |= {secret_of(staff.page), base64.b32decode(secret_of(staff.page)), staff.hidden["offer"], *codes}
    swept.secrets |= {code.replace("-", "") for code in codes}
    page = swept.hear(await staff.opens("/dashboard/me"))
    swept.pages.append(page.text)
    form = {"name": "admin", "password": ADMIN, "next": ""}
    swept.hear(await http.post("/dashboard/sign-in", data=form, headers=FORM))
    swept.hear(await staff.opens(SECOND))
    for code in (made.code(0), codes[0], codes[0]):
        swept.hear(await staff.sends(SECOND, staff.hidden | {"code": code}))
    swept.hear(await http.post(f"/dashboard/sign-in/second?code={codes[1]}", data={"code": codes[1]}, headers=FORM))
    swept.hear(await http.get(f"/dashboard/me/{made.secret}", headers=FORM))
    swept.pages.append((await staff.opens("/dashboard/events?q=user:admin+at:24h")).text)


async def all_that_goes_wrong(swept: Sweep, http: httpx.AsyncClient) -> None:
    """Secrets where they do not belong: in URLs, broken bodies, headers and to routes that do not exist."""
    token = (await login(swept, http, "alice", ALICE_NEW))["refresh_token"]
    json_header = {"Content-Type": "application/json"}
    for body in (f'{{"refresh_token": "{token}"', f'{{"{token}": 1}}', f'{{"refresh_token": ["{token}"]}}', token):
        swept.hear(await http.post("/auth/refresh", content=body, headers=json_header))
    swept.hear(await http.post("/auth/login", content=f'{{"username": 1, "password": "{ALICE}"}}', headers=json_header))
    swept.hear(await http.post("/auth/login", data={"username": "alice", "password": ALICE}))
    for method in ("GET", "POST", "PUT"):
        swept.hear(await http.request(method, f"/auth/refresh/{token}"))
        swept.hear(await http.request(method, f"/auth/refresh?refresh_token={token}&password={ALICE_NEW}"))
    swept.hear(await http.get("/auth/me", headers={"Authorization": f"Bearer {token}"}))
    swept.hear(await http.get("/auth/me", headers={"Authorization": f"Basic {ALICE_NEW}", "X-Request-ID": token}))
    swept.hear(await http.get(f"/auth/sessions/{token}", headers={"User-Agent": "agent"}))
    await asyncio.sleep(0)


async def test_the_sweep_finds_what_is_there(sweep: Sweep) -> None:
    nonces = [secret for secret in sweep.secrets if isinstance(secret, bytes) and len(secret) == token.NONCE_BYTES]

    assert len(nonces) > 3
    assert {ADMIN, nonces[0]} == sweep.found_in(f"{ADMIN} {nonces[0]!r}")
    assert len(sweep.secrets) > 30


async def test_no_secret_is_in_the_log_output(sweep: Sweep) -> None:
    logging.getLogger("a.library").error("it failed on %s", ALICE)
    structlog.get_logger().error("failure", **journal.failure(ValueError(ALICE)))

    assert sweep.log.getvalue().count("\n") > 30
    assert set() == sweep.found_in(sweep.log.getvalue())


async def test_no_secret_is_in_the_database_its_log_or_the_checkpoints(sweep: Sweep, tmp_path: Path) -> None:
    await sweep.service.checkpointing.run()

    check(sweep.service.store, tmp_path / "checkpoints", sweep.secrets)


async def test_no_password_is_in_a_row_under_the_name_it_was_typed_as(sweep: Sweep) -> None:
    names = {name for (name,) in tables.rows(sweep.service.store, "SELECT name FROM subjects")}

    assert {"admin", "alice"} == names


async def test_no_secret_is_in_an_answer_that_refuses_or_in_any_header(sweep: Sweep) -> None:
    assert len(sweep.refusals) > 15
    assert set() == sweep.found_in("\n".join(sweep.refusals))
    assert set() == sweep.found_in("\n".join(sweep.headers))


async def test_no_secret_is_in_the_pages_of_staff(sweep: Sweep) -> None:
    forms = re.compile(r'(name="csrf" value=")[^"]*')  # the page's own forms carry its own token

    assert "alice" in sweep.pages[0]
    assert "backend" in sweep.pages[1]
    for page in sweep.pages:
        assert set() == sweep.found_in(forms.sub(r"\1", page))


async def test_no_secret_is_in_a_number_for_prometheus(sweep: Sweep) -> None:
    from prometheus_client import generate_latest

    assert set() == sweep.found_in(generate_latest(sweep.service.metrics.registry).decode())


async def test_no_secret_is_in_the_page_of_the_schema(sweep: Sweep) -> None:
    async with visiting(sweep.service) as http:
        page = await http.get("/schema/openapi.json")

    assert set() == sweep.found_in(page.text)


def objects_of(service: app.Service) -> Iterator[object]:
    """The service and everything of ours that can be reached from it."""
    rooms = ("core", "events", "api", "dashboard", "service", "app", "edge", "settings")
    seen: set[int] = set()
    waiting: list[object] = [service]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        ours = type(one).__module__.partition(".")[0] in rooms
        if ours:
            yield one
        if ours or isinstance(one, (dict, list, tuple, set, frozenset)):
            waiting += gc.get_referents(one)


async def test_no_object_of_the_service_shows_a_secret(sweep: Sweep) -> None:
    found = list(objects_of(sweep.service))
    kinds = {type(one).__name__ for one in found}

    assert {"Service", "Settings", "MasterKeys", "KeyRing", "SigningKey", "Hasher", "Limits", "Families"} <= kinds
    for one in found:
        shown = repr(one) + str(one)
        assert set() == sweep.found_in(shown), type(one).__name__
    assert set() == sweep.found_in(pprint.pformat([one for one in found if not isinstance(one, type)]))


NONCE = bytes(range(100, 116))
PRESENTED = token.Token(1, bytes(16), NONCE, 1)
SHOWN: dict[str, Callable[[], object]] = {
    "a token": lambda: PRESENTED,
    "a sign-in": lambda: SignIn("alice", ALICE, "web", "body", replaces=PRESENTED),
    "a refresh": lambda: Refresh(PRESENTED, "web", "body", str, 1, "", None),  # type: ignore[arg-type]
    "tokens": lambda: Issued(_answer(), "a" * 40, "slr_" + "b" * 92, "c" * 40),
    "a registration": lambda: Register(bytes(16), "alice", "$argon2id$secret", "", "cli"),
    "an account": lambda: Account(name="alice", password="$argon2id$secret", wrapped="w" * 40, secret="s" * 43),
    "a client": lambda: begin(bytes(16), 0, ClientRegistered(actor="cli", client="backend"), Account(secret="s" * 43)),
    "a rotation of a secret": lambda: Rotate("backend", "s" * 43, 0, "cli"),
    "a secret that was made": lambda: Made(Outcome.DONE, "s" * 43),
    "a client's own token": lambda: Machine("a" * 40, 900, "read"),
    "a proof": lambda: Offered("backend", "s" * 43),
    "a step of signing in": lambda: factors.Asked("s" * 43),
    "a code as typed": lambda: factors.Typed("s" * 43, ALICE),
    "a secret of one-time codes": lambda: enrolling.Offer(NONCE, "s" * 43),
    "recovery codes that were made": lambda: enrolling.Enrolled(enrolment.Outcome.DONE, None, ("s" * 43,)),
    "a new factor": lambda: enrolment.New("id", "totp", Account(wrapped="w" * 40)),
    "a code that fitted": lambda: factor.Code("id", 1, 1, "w" * 40),
    "a recovery code": lambda: factor.Recovery("s" * 43),
    "a factor": lambda: past_factor.Factor("id", "totp", 0, wrapped="w" * 40),
    "factors": lambda: past_factor.Factors((past_factor.Factor("id", "totp", 0, wrapped="w" * 40),), ("s" * 43,)),
    "a wrapped secret": lambda: Wrapped("w" * 40, 1),
    "a webhook": lambda: begin_hook(
        bytes(16),
        0,
        WebhookRegistered(actor="cli", webhook="whk_"),
        Account(wrapped="w" * 40, url=f"https://x/{ALICE}"),
    ),
    "a webhook that was made": lambda: HookMade(HookOutcome.DONE, bytes(16), "s" * 43),
    "what a webhook is to be": lambda: Plan(STANDARD, url=f"https://x/{ALICE}"),
    "a message": lambda: Post({"authorization": ALICE}, ALICE.encode()),
    "tokens that are offered": lambda: polling.Offered({"msg_": "a" * 40}, more=False),
    "how tokens come": lambda: SsfDelivery("push", ALICE, ALICE),
    "a secret as it is told": lambda: HookSecret("whk_", "s" * 43),
    "tokens of the token endpoint": lambda: OAuthTokens("a" * 40, 900, "Bearer", "slr_" + "b" * 92),
}
HIDDEN = ("s" * 43, ALICE, "$argon2id$", "a" * 40, "b" * 92, "c" * 40, "w" * 40, NONCE.hex(), repr(NONCE)[2:-1])


def _answer() -> Any:
    from core.verdict import Answer, Verdict
    from events.family import Family

    rest: dict[str, Any] = dict.fromkeys(Family.__struct_fields__, "") | {"id": bytes(16)}
    return Answer(Verdict.ROTATED, Family(**rest))


@pytest.mark.parametrize("name", SHOWN)
def test_a_value_that_carries_a_secret_does_not_show_it(name: str) -> None:
    shown = SHOWN[name]()

    assert [] == [secret for secret in HIDDEN if secret in repr(shown) + str(shown) + f"{[shown]}"]


def test_every_value_of_the_doors_that_carries_a_secret_hides_it() -> None:
    from api.account import PasswordRequest
    from api.answers import TokenAnswer
    from api.auth import CsrfAnswer, LoginRequest, RefreshRequest
    from core.start import FirstAdmin

    carrying = [
        LoginRequest("alice", ALICE),
        RefreshRequest(ALICE),
        CsrfAnswer(ALICE),
        PasswordRequest(ALICE, ALICE),
        TokenAnswer(ALICE, 900, "fam_", refresh_token=ALICE, csrf_token=ALICE),
        FirstAdmin("admin", ALICE),
    ]
    assert ALICE not in repr(carrying) + "".join(map(str, carrying))


def test_an_error_of_the_database_does_not_quote_what_was_to_be_stored(store: Store) -> None:
    row = {"position": 1, "kind": 2, "salt": b"", "data": ALICE.encode()}

    def twice(connection: Connection) -> None:
        connection.execute(schema.event_private.insert(), row)
        connection.execute(schema.event_private.insert(), row)

    with pytest.raises(IntegrityError) as refused:
        store.transact(twice)

    assert ALICE not in str(refused.value) + repr(refused.value)


async def test_the_master_key_stands_in_its_own_file_only(
    make_settings: MakeSettings, sqlite_store: SqliteStore
) -> None:
    folder = sqlite_store.database.parent
    async with running(make_settings()):
        pass
    text = (folder / "master-key").read_text().strip()

    assert set() == found_in_files([folder.parent], [text, text.partition(":")[2]])


async def test_the_first_password_is_nowhere_once_it_was_used(make_settings: MakeSettings, store: Store) -> None:
    settings = make_settings(admin_password=None)
    async with running(settings) as service, visiting(service) as http:
        made = (settings.data_dir / "admin-password").read_text().strip()
        await visitors.sign_in(http, password=made)
        with suppress(FileNotFoundError):
            (settings.data_dir / "master-key").unlink()

        assert set() == found_in_files([settings.data_dir.parent], [made])
        assert set() == found_in_store(store, [made])
