"""My account over HTTP: who am I, my sessions, my password; with tokens that are not what they seem (1-14, 31, 36)."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import app
from api.dpop import ALGS
from core.issued import Present
from events import ids
from tests.applications import application, issued_to
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.visitors import (
    ALICE,
    BOB,
    bearer,
    code,
    let_pass,
    me,
    packed,
    refresh,
    register,
    sign_in,
    story,
    stream_of,
    unpacked,
)

NEW = "gravel-topaz-stork-44-bassoon"


# Who am I


async def test_me_is_the_user_as_the_ledger_has_it_now(http: httpx.AsyncClient) -> None:
    found = await sign_in(http)
    answer = await me(http, found["access_token"])
    claims = unpacked(found["access_token"].split(".")[1])

    assert {"sub", "username", "roles", "client_id", "family_id", "auth_time", "scope"} == set(answer.json())
    assert ("admin", ["admin"], "web") == (
        answer.json()["username"],
        answer.json()["roles"],
        answer.json()["client_id"],
    )
    assert (claims["sub"], claims["sid"]) == (answer.json()["sub"], answer.json()["family_id"])
    assert answer.json()["auth_time"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(http: httpx.AsyncClient, scheme: str) -> None:
    token = (await sign_in(http))["access_token"]

    assert (await http.get("/auth/me", headers={"Authorization": f"{scheme} {token}"})).status_code == 200


async def test_who_sends_no_token_is_told_the_scheme_and_who_sends_a_bad_one_that_it_is_bad(
    http: httpx.AsyncClient,
) -> None:
    nothing = await http.get("/auth/me")
    bad = await me(http, "x")

    assert [(401, "invalid_token")] * 2 == [code(nothing), code(bad)]
    assert nothing.headers["www-authenticate"] == f'Bearer, DPoP algs="{ALGS}"'
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_attack_18_an_access_token_elsewhere_than_in_its_header_is_not_seen(http: httpx.AsyncClient) -> None:
    token = (await sign_in(http))["access_token"]
    for query, headers in (
        (f"?access_token={token}", {}),
        ("", {"Cookie": f"access_token={token}"}),
        ("", {"X-Auth-Token": token}),
        ("", {"Proxy-Authorization": f"Bearer {token}"}),
        ("", {"Authorization": token}),
        ("", {"Authorization": f"Token {token}"}),
        ("", {"Authorization": f"Basic {token}"}),
        ("", {"Authorization": f"Bearer  {token}"}),
        ("", {"Authorization": f"Bearer\t{token}"}),
        ("", {"Authorization": f"Bearer {token}, Bearer {token}"}),
        ("", {"Authorization": f"DPoP {token}"}),
    ):
        assert code(await http.get(f"/auth/me{query}", headers=headers)) == (401, "invalid_token"), (query, headers)
    twice = await http.get("/auth/me", headers=[("Authorization", f"Bearer {token}")] * 2)
    assert code(twice) == (400, "invalid_request")


Forge = Callable[[app.Service, dict[str, Any], dict[str, Any], str], str]


def signed(service: app.Service, head: Any, body: Any) -> str:
    """With the service's own key, whatever the header and payload say."""
    text = f"{packed(head)}.{packed(body)}"
    return f"{text}.{packed(service.keys.signing.sign(text.encode()))}"


def changed(head: dict[str, Any] | None = None, body: dict[str, Any] | None = None, drop: str = "") -> Forge:
    """The genuine token with other members, rightly signed."""

    def forge(service: app.Service, was: dict[str, Any], claims: dict[str, Any], _text: str) -> str:
        kept = {name: value for name, value in claims.items() if name != drop}
        return signed(service, {k: v for k, v in (was | (head or {})).items() if k != drop}, kept | (body or {}))

    return forge


def around_now(**seconds: float) -> Forge:
    """The genuine token with times so far from the moment of the forgery: a long run must not catch up with them."""

    def forge(*genuine: Any) -> str:
        return changed(body={name: int(time.time()) + far for name, far in seconds.items()})(*genuine)

    return forge


def public_pem(service: app.Service) -> bytes:
    (jwk,) = [key for key in service.keys.published()["keys"] if key["kid"] == service.keys.signing.kid]
    raw = base64.urlsafe_b64decode(jwk["x"] + "=")
    key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def by_hmac(secret: Callable[[app.Service], bytes]) -> Forge:
    def forge(service: app.Service, was: dict[str, Any], claims: dict[str, Any], _text: str) -> str:
        text = f"{packed(was | {'alg': 'HS256'})}.{packed(claims)}"
        return f"{text}.{packed(hmac.digest(secret(service), text.encode(), hashlib.sha256))}"

    return forge


def by_own_key(service: app.Service, was: dict[str, Any], claims: dict[str, Any], _text: str) -> str:
    """An attacker's key pair, offered in the header."""
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": packed(raw)}
    text = f"{packed(was | {'jwk': jwk, 'jku': 'https://evil.test/keys', 'kid': 'mine'})}.{packed(claims)}"
    return f"{text}.{packed(key.sign(text.encode()))}"


def unsigned(alg: object, *, keep: bool) -> Forge:
    def forge(_service: app.Service, was: dict[str, Any], claims: dict[str, Any], text: str) -> str:
        return f"{packed(was | {'alg': alg})}.{packed(claims)}.{text.split('.')[2] if keep else ''}"

    return forge


def respelled(spell: Callable[[str], str]) -> Forge:
    return lambda _service, _head, _claims, text: spell(text)


def raw_body(spell: Callable[[bytes], bytes]) -> Forge:
    """The payload as other bytes, rightly signed."""
    return lambda service, head, claims, _text: signed(service, head, spell(json.dumps(claims).encode()))


FORGERIES: dict[str, Forge] = {
    "01 alg none": unsigned("none", keep=False),
    "01 alg nOnE with a signature": unsigned("nOnE", keep=True),
    "01 alg empty": unsigned("", keep=True),
    "01 alg missing": unsigned(None, keep=True),
    "01 alg a list": unsigned(["EdDSA"], keep=True),
    "02 HS256 with the public PEM": by_hmac(public_pem),
    "02 HS256 with the published key set": by_hmac(lambda service: json.dumps(service.keys.published()).encode()),
    "02 HS256 with nothing": by_hmac(lambda _service: b""),
    "03 another algorithm for the same key": changed({"alg": "ES256"}),
    "04 kid of a file": changed({"kid": "../../../../dev/null"}),
    "04 kid as SQL": changed({"kid": "' OR '1'='1"}),
    "04 kid a number": changed({"kid": 1}),
    "04 kid with NUL": changed({"kid": "a\x00b"}),
    "04 kid missing": changed(drop="kid"),
    "05 own key in the header": by_own_key,
    "06 crit": changed({"crit": ["x"]}),
    "06 crit empty": changed({"crit": []}),
    "06 b64 false": changed({"crit": ["b64"], "b64": False}),
    "06 zip": changed({"zip": "DEF"}),
    "06 cty": changed({"cty": "JWT"}),
    "07 expired": around_now(iat=-900, exp=-6),
    "07 from the future": around_now(iat=600, exp=900),
    "07 not yet": around_now(nbf=600),
    "07 too long": around_now(exp=86_400),
    "08 exp as text": raw_body(lambda body: re.sub(rb'"exp": (\d+)', rb'"exp": "\1"', body)),
    "08 exp a fraction": around_now(exp=600.5),
    "08 exp true": changed(body={"exp": True}),
    "08 exp null": changed(body={"exp": None}),
    "08 exp NaN": raw_body(lambda body: body.replace(b'"exp": ', b'"exp": NaN, "x": ')),
    "08 exp beyond all bounds": raw_body(lambda body: body.replace(b'"exp": ', b'"exp": 1' + b"0" * 5000)),
    "08 sub a number": changed(body={"sub": 1}),
    "08 scope a list": changed(body={"scope": ["a"]}),
    **{f"09 without {name}": changed(drop=name) for name in "iss exp aud sub client_id iat jti sid auth_time".split()},
    "10 another issuer": changed(body={"iss": "https://ledger.test/"}),
    "10 another audience": changed(body={"aud": "https://evil.test"}),
    "10 an audience list": changed(body={"aud": ["https://ledger.test", "https://evil.test"]}),
    "11 typ JWT": changed({"typ": "JWT"}),
    "11 typ missing": changed(drop="typ"),
    "11 typ AT+JWT": changed({"typ": "AT+JWT"}),
    "12 sub twice": raw_body(lambda body: body.replace(b'"sub"', b'"sub": "sub_x", "sub"')),
    "12 exp twice": raw_body(lambda body: body[:-1] + b', "exp": 9999999999}'),
    "12 sub in two spellings": raw_body(lambda body: body[:-1] + b', "\\u0073ub": "x"}'),
    "13 no signature": respelled(lambda text: text.rpartition(".")[0] + "."),
    "13 two parts": respelled(lambda text: text.rpartition(".")[0]),
    "13 four parts": respelled(lambda text: text + ".x"),
    "13 five parts": respelled(lambda text: text + ".x.y"),
    "13 padded": respelled(lambda text: text + "=="),
    "13 a space inside": respelled(lambda text: text[:50] + " " + text[50:]),
    "13 another alphabet": respelled(lambda text: text[:-1] + "+"),
    "13 bits left over": respelled(lambda text: text[:-1] + chr(ord(text[-1]) + 1)),
    "14 UTF-16": raw_body(lambda body: body.decode().encode("utf-16")),
    "14 byte order mark": raw_body(lambda body: b"\xef\xbb\xbf" + body),
    "14 not UTF-8": raw_body(lambda body: body.replace(b"web", b"\xff")),
    "14 half a surrogate": raw_body(lambda body: body.replace(b"web", b"\\ud800")),
    "14 deep": raw_body(lambda _body: b"[" * 2000),
    "14 long": respelled(lambda text: text + "A" * 7000),
    "14 dots": respelled(lambda _text: "." * 7000),
    "sid of nobody": changed(body={"sid": ids.to_text("fam", b"\x00" + b"f" * 15)}),
    "sid no id": changed(body={"sid": "fam_x"}),
    "sub of another": changed(body={"sub": ids.to_text("sub", b"\x00" + b"s" * 15)}),
    "client of another": changed(body={"client_id": "dashboard"}),
}  # fmt: skip


async def test_attacks_01_to_14_one_answer_for_every_token_that_is_not_ours_and_never_a_500(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """The verifier has its own tests; these show that it stands before every Bearer route, and hides its reason."""
    text = (await sign_in(http))["access_token"]
    head, claims = (unpacked(part) for part in text.split(".")[:2])
    assert (await me(http, signed(service, head, claims))).status_code == 200  # the forger's tools work
    shown = set()
    for name, forge in FORGERIES.items():
        headers = bearer(forge(service, head, claims, text))
        for answer in (
            await http.get("/auth/me", headers=headers),
            await http.get("/auth/sessions", headers=headers),
            await http.delete(f"/auth/sessions/{claims['sid']}", headers=headers),
            await http.post("/auth/password", json={"current": PASSWORD, "new": NEW}, headers=headers),
        ):
            assert code(answer) == (401, "invalid_token"), name
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            shown.add((answer.json()["detail"], *(answer.json()[key] for key in ("type", "title"))))

    assert len(shown) == 1
    assert (await me(http, text)).status_code == 200
    assert (await story(service, claims["sid"])) == ["token.issued"]


async def test_attack_14_bytes_that_are_no_text_in_the_header_are_a_bad_token(http: httpx.AsyncClient) -> None:
    for value in (b"Bearer \xff\xfe", "Bearer 🦉".encode(), b"Bearer \xed\xa0\x80", b"\xff", b"Bearer", b"", b" "):
        assert code(await http.get("/auth/me", headers=[(b"Authorization", value)])) == (401, "invalid_token")
    assert code(await me(http, "x" * 9000)) == (431, "headers_too_large")


async def test_an_access_token_outlives_neither_its_time_nor_its_session(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    let_pass(service, 896)
    assert (await me(http, first["access_token"])).status_code == 200
    let_pass(service, 906)
    assert code(await me(http, first["access_token"])) == (401, "invalid_token")
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_31_no_token_is_refused_while_keys_rotate_and_a_revoked_key_ends_its_tokens(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    old = await sign_in(http)
    before = service.keys.signing.kid
    published = {key["kid"] for key in (await http.get("/.well-known/jwks.json")).json()["keys"]}
    await service.keys.rotate("staff", force=True)
    new = (await refresh(http, old["refresh_token"])).json()
    after = unpacked(new["access_token"].split(".")[0])["kid"]

    assert before != after
    assert after in published  # before it ever signed
    assert [200, 200] == [(await me(http, one["access_token"])).status_code for one in (old, new)]
    assert {before, after} <= {key["kid"] for key in (await http.get("/.well-known/jwks.json")).json()["keys"]}

    await service.keys.revoke(before, "leaked", "staff")
    assert code(await me(http, old["access_token"])) == (401, "invalid_token")
    assert (await me(http, new["access_token"])).status_code == 200
    assert before not in {key["kid"] for key in (await http.get("/.well-known/jwks.json")).json()["keys"]}


# My sessions


async def test_my_sessions_are_listed_newest_first_and_this_one_is_marked(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    await sign_in(http)
    ended = await sign_in(http, "alice", ALICE)
    phone = await sign_in(http, "alice", ALICE, device="phone <script>")
    laptop = await sign_in(http, "alice", ALICE, device="laptop")
    await http.post("/auth/logout", json={"refresh_token": ended["refresh_token"]})
    answer = await http.get("/auth/sessions", headers=bearer(laptop["access_token"]))
    shown = [(one["family_id"], one["current"], one["device"]) for one in answer.json()["sessions"]]

    assert shown == [(laptop["family_id"], True, "laptop"), (phone["family_id"], False, "phone <script>")]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    shown_of_each = {"family_id", "client_id", "status", "current", "device", "ip", "started_at", "last_used_at"}
    assert shown_of_each | {"ends_at"} == set(answer.json()["sessions"][0])


async def test_one_of_my_sessions_can_be_ended_and_ended_again(http: httpx.AsyncClient) -> None:
    lost, kept = await sign_in(http), await sign_in(http)
    route = f"/auth/sessions/{lost['family_id']}"
    answers = [await http.delete(route, headers=bearer(kept["access_token"])) for _ in range(2)]

    assert [(204, b"")] * 2 == [(answer.status_code, answer.content) for answer in answers]
    assert code(await refresh(http, lost["refresh_token"])) == (401, "session_revoked")
    assert code(await me(http, lost["access_token"])) == (401, "invalid_token")
    assert (await me(http, kept["access_token"])).status_code == 200


async def test_an_application_that_is_not_ours_acts_in_its_own_sessions_alone(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    for name, ours in (("partner", 0), ("backend", 1)):
        await application(service, name, first_party=ours)
    foreign, other, own = [await issued_to(service, name) for name in ("partner", "partner", "backend")]
    web = await sign_in(http, "alice", ALICE)
    families = {one: ids.to_text("fam", tokens.family.id) for one, tokens in (("other", other), ("own", own))}

    told = [await http.get("/auth/sessions", headers=bearer(one.access_token)) for one in (foreign, own)]
    shown = [[one["client_id"] for one in answer.json()["sessions"]] for answer in told]
    ends = [
        await http.delete(f"/auth/sessions/{family}", headers=bearer(foreign.access_token))
        for family in (web["family_id"], families["own"], families["other"])
    ]
    asked = {"current": ALICE, "new": NEW}
    password = await http.post("/auth/password", json=asked, headers=bearer(foreign.access_token))

    assert [["partner", "partner"], ["web", "backend", "partner", "partner"]] == shown
    assert [404, 404, 204] == [one.status_code for one in ends]
    assert (403, "not_first_party") == code(password)
    assert (await me(http, web["access_token"])).status_code == 200
    assert (await http.delete(f"/auth/sessions/{web['family_id']}", headers=bearer(own.access_token))).is_success


async def test_who_ends_the_session_he_is_in_is_out(http: httpx.AsyncClient) -> None:
    mine = await sign_in(http)
    await http.delete(f"/auth/sessions/{mine['family_id']}", headers=bearer(mine["access_token"]))

    assert code(await me(http, mine["access_token"])) == (401, "invalid_token")


async def test_attack_36_somebody_elses_session_is_as_unknown_as_none(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    victim, attacker = await sign_in(http), await sign_in(http, "alice", ALICE)
    nobodys = ids.to_text("fam", b"\x00" + b"f" * 15)
    answers = [
        await http.delete(f"/auth/sessions/{one}", headers=bearer(attacker["access_token"]))
        for one in (
            victim["family_id"],
            nobodys,
            victim["family_id"].upper(),
            "fam_x",
            "fam_" + "a" * 500,
            "%00",
            "%ff",
            "..%2fme",
        )
    ]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers if answer.status_code == 404]

    assert code(answers[0]) == (404, "session_not_found")
    assert {404} == {answer.status_code for answer in answers}
    assert [bodies[0]] * 5 == bodies[:5]
    assert (await me(http, victim["access_token"])).status_code == 200


# My password


async def change(http: httpx.AsyncClient, token: str, current: str = ALICE, new: str = NEW) -> httpx.Response:
    return await http.post("/auth/password", json={"current": current, "new": new}, headers=bearer(token))


async def test_a_new_password_ends_every_session_and_begins_a_new_one(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    other, mine = await sign_in(http, "alice", ALICE), await sign_in(http, "alice", ALICE)
    answer = await change(http, mine["access_token"])
    new = answer.json()

    assert (answer.status_code, set(answer.json())) == (200, set(mine))
    assert new["family_id"] not in {mine["family_id"], other["family_id"]}
    for dead in (mine, other):
        assert code(await refresh(http, dead["refresh_token"])) == (401, "session_revoked")
        assert code(await me(http, dead["access_token"])) == (401, "invalid_token")
    assert (await me(http, new["access_token"])).json()["username"] == "alice"
    assert (await refresh(http, new["refresh_token"])).status_code == 200
    old = await http.post("/auth/login", json={"username": "alice", "password": ALICE, "mode": "body"})
    assert code(old) == (401, "invalid_credentials")
    assert (await sign_in(http, "alice", NEW))["family_id"]


async def test_a_wrong_current_password_changes_nothing_and_counts(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    mine = await sign_in(http, "alice", ALICE)
    answers = [await change(http, mine["access_token"], BOB) for _ in range(11)]

    assert code(answers[0]) == (401, "invalid_credentials")
    assert code(answers[-1]) == (429, "rate_limited")
    assert (await me(http, mine["access_token"])).status_code == 200
    await service.families.close()
    alice = await service.subjects.find("alice")
    assert alice is not None
    assert alice.failures == 10


async def test_attack_45_a_weak_new_password_is_named_and_changes_nothing(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    mine = await sign_in(http, "alice", ALICE)
    for new, reason in (
        ("", "password_too_short"),
        ("fourteen-chars", "password_too_short"),
        ("x" * 257, "password_too_long"),
        ("é" * 256 + "y" * 600, "password_too_long"),
        ("1234567890123456789", "password_common"),
        ("plum-plum-plum-plum", "password_repeated"),
        ("session-ledger-2026", "password_guessable"),
        ("alice-alice-alice-9", "password_guessable"),
        ("5e$5ion-l3dger-2026", "password_guessable"),
    ):
        answer = await change(http, mine["access_token"], new=new)
        assert code(answer) == (400, reason), new
        assert not new or new not in answer.text
    assert (await me(http, mine["access_token"])).status_code == 200
    assert (await sign_in(http, "alice", ALICE))["family_id"]


async def test_attack_17_a_session_that_was_ended_meanwhile_changes_no_password(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """Whoever ended it wanted it ended; it must not come back as a new one."""
    await register(service)
    mine = await sign_in(http, "alice", ALICE)
    present = await service.families.authenticate(mine["access_token"])
    await service.families.revoke(stream_of(mine["family_id"]), "staff", "test")
    assert isinstance(present, Present)

    async def let_in_before(*_asked: str) -> Any:
        return present

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.families, "authenticate", let_in_before)
        late = await change(http, mine["access_token"])

    assert code(late) == (401, "session_revoked")
    assert (await sign_in(http, "alice", ALICE))["family_id"]


async def test_two_password_changes_at_once_are_one(service: app.Service, http: httpx.AsyncClient) -> None:
    await register(service)
    mine = await sign_in(http, "alice", ALICE)
    answers = await asyncio.gather(change(http, mine["access_token"]), change(http, mine["access_token"], new=BOB))

    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_attack_37_nobody_gives_himself_more_than_he_has(service: app.Service, http: httpx.AsyncClient) -> None:
    await register(service)
    mine = await sign_in(http, "alice", ALICE)
    extra = {
        "roles": ["admin"],
        "role": "admin",
        "sub": "sub_x",
        "family_id": "fam_x",
        "ends_at": "2099-01-01T00:00:00Z",
        "expires_in": 999_999,
        "amr": "hwk",
        "scope": "*",
        "__proto__": {},
    }
    for name, value in extra.items():
        login = {"username": "alice", "password": ALICE, "mode": "body", name: value}
        for answer in (
            await http.post("/auth/login", json=login),
            await http.post("/auth/refresh", json={"refresh_token": mine["refresh_token"], name: value}),
            await http.post("/auth/logout", json={"refresh_token": mine["refresh_token"], name: value}),
            await http.post(
                "/auth/password", json={"current": ALICE, "new": NEW, name: value}, headers=bearer(mine["access_token"])
            ),
        ):
            assert code(answer) == (400, "invalid_request"), name

    assert (await me(http, mine["access_token"])).json()["roles"] == []


async def test_attack_42_nothing_of_an_account_may_be_kept_by_a_cache(http: httpx.AsyncClient) -> None:
    mine = await sign_in(http)
    for path in ("/auth/me", "/auth/sessions"):
        answer = await http.get(path, headers=bearer(mine["access_token"]))
        assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
        assert not {"etag", "last-modified", "expires"} & set(answer.headers)
    for path in (
        "/auth/me/a.css",
        "/auth/me.css",
        "/auth/me/",
        "/auth/me;a.css",
        "/auth/me%2fa.css",
        "/auth/sessions/a.css",
    ):
        answer = await http.get(path, headers=bearer(mine["access_token"]))
        assert "admin" not in answer.text or path == "/auth/me/"
        assert answer.headers["cache-control"] == "no-store"
    await http.post("/auth/logout", json={"refresh_token": mine["refresh_token"]})
    late = await http.get(
        "/auth/me", headers=bearer(mine["access_token"]) | {"If-None-Match": "*", "If-Modified-Since": "x"}
    )
    assert code(late) == (401, "invalid_token")


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
async def test_another_algorithm_works_the_same_and_publishes_no_secret(
    make_settings: MakeSettings, algorithm: str
) -> None:
    async with running(make_settings(signing_algorithm=algorithm)) as service, visiting(service) as http:
        mine = await sign_in(http)
        served = (await http.get("/.well-known/jwks.json")).json()["keys"]

        assert unpacked(mine["access_token"].split(".")[0])["alg"] == algorithm
        assert (await me(http, mine["access_token"])).status_code == 200
        assert not [key for key in served if {"k", "d"} & set(key)]


async def test_each_session_tells_its_device_and_where_it_was_last_used(http: httpx.AsyncClient) -> None:
    named = await sign_in(http, device="the old laptop")
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
    unnamed = (await http.post("/auth/login", json=asked, headers={"User-Agent": f"{agent} Safari/537.36"})).json()

    answer = await http.get("/auth/sessions", headers={"Authorization": f"Bearer {named['access_token']}"})

    found = {one["family_id"]: (one["device"], one["ip"]) for one in answer.json()["sessions"]}
    assert ("the old laptop", "203.0.113.7") == found[named["family_id"]]
    assert ("Chrome 142 · Windows", "203.0.113.7") == found[unnamed["family_id"]]
