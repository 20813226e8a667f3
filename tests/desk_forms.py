"""The forms of the dashboard, filled in so that they would do, for whoever sends them and whatever they name."""

import base64
import json
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, NamedTuple

import pyotp
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from core.presence import Presence
from core.visit import Visit
from tests.desks import CROWD, Office, Person, Thing
from tests.visitors import packed

POLICY: Final = dict.fromkeys(("on_device_change", "on_network_change", "on_country_change"), "observe")
"""What the form of an application says of itself."""
SEEN: Final = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
"""Somebody was there and proved it, and the key comes along."""


class Case(NamedTuple):
    """What a form is filled in for."""

    office: Office
    person: Person
    thing: Thing


Form = Callable[[Case], Awaitable[dict[str, str]]]


async def nothing(_: Case) -> dict[str, str]:
    return {}


def typed(**fields: str) -> Form:
    """A form that says the same of everything."""

    async def fill(_: Case) -> dict[str, str]:
        return fields

    return fill


async def confirmed(case: Case) -> dict[str, str]:
    """As the previews of what cannot be undone ask for it; each route reads what it needs of it."""
    why = {"reason": "maintenance", "action": case.office.new_action(), "position": "1"}
    how = {"to": "disabled", "name": case.thing.name, "scope": "family", "families": "0", "number": str(CROWD)}
    crowd = {"scope": "everything", "shown": " ".join(case.thing.families)} if case.thing.families else {}
    return why | how | crowd


async def ticked(case: Case) -> dict[str, str]:
    return {"family": case.thing.id}


async def application(_: Case) -> dict[str, str]:
    return POLICY | {"client": f"made-{secrets.token_hex(4)}", "type": "public", "first_party": "1"}


async def scanned(case: Case) -> dict[str, str]:
    """The app has the secret that was offered, and shows a code."""
    if not case.person.name:
        return {}
    offer = case.office.service.enrolling.offer(await case.office.session(case.person))
    shown = pyotp.TOTP(base64.b32encode(offer.secret).decode()).at(int(case.office.time()))
    return {"name": "Phone", "offer": offer.sealed, "code": shown}


async def made(case: Case) -> dict[str, str]:
    """The browser made a passkey for this page."""
    if not case.person.name:
        return {}
    agent = case.person.browser.http.headers["user-agent"]
    visit = Visit(Presence("203.0.113.7", agent), "", 0.0)
    step, options = case.office.service.enrolling.to_add(await case.office.session(case.person), visit)
    site = case.office.service.factors.site
    said = {"type": "webauthn.create", "challenge": json.loads(options)["challenge"], "origin": site.origin}
    return {"name": "Key", "step": step, "credential": _passkey(said, site.host)}


def _passkey(said: dict[str, str], host: str) -> str:
    """A new one, as a browser tells of it."""
    credential, key = secrets.token_bytes(16), ec.generate_private_key(ec.SECP256R1()).public_key()
    cose = ES256.from_cryptography_key(key)  # type: ignore[no-untyped-call]
    held = AttestedCredentialData.create(Aaguid.NONE, credential, cose)
    data = AuthenticatorData.create(sha256(host.encode()).digest(), SEEN, 0, held)
    told = {
        "clientDataJSON": packed(json.dumps(said).encode()),
        "attestationObject": packed(bytes(AttestationObject.create("none", data, {}))),
    }
    named = {"id": packed(credential), "rawId": packed(credential), "type": "public-key"}
    return json.dumps(named | {"response": told, "clientExtensionResults": {}})
