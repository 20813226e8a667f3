"""Passkeys (WebAuthn level 3): what a browser is asked for, and what its answer proves. Pure."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from fido2 import cbor
from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from core.body import json_flaw
from core.factor import Assertion
from events.factor import Factor

NAME: Final = "Session Ledger"
ALGORITHMS: Final = (-8, -7, -257)
"""EdDSA, ES256, RS256 (RFC 9053 §2, RFC 8812): what authenticators have."""
MAX_ANSWER: Final = 16 * 1024
"""Characters of a browser's answer."""
MAX_CREDENTIAL: Final = 1023
"""Bytes of a credential's id (WebAuthn §4)."""
_AAGUID: Final = bytes(16)


class Site(NamedTuple):
    """Whose passkeys these are: the origin that browsers must name, and the host that they are bound to."""

    origin: str

    @property
    def host(self) -> str:
        """The id of the relying party."""
        return urlsplit(self.origin).hostname or ""

    @property
    def takes_passkeys(self) -> bool:
        """Browsers bind passkeys to names, never to addresses."""
        return any(c.isalpha() for c in self.host) and ":" not in self.host


class Made(NamedTuple):
    """A passkey that was just made."""

    credential: str
    public_key: str
    counter: int
    synced: bool
    verified: bool


def to_make(site: Site, challenge: bytes, owner: tuple[bytes, str], held: Iterable[Factor]) -> str:
    """What `navigator.credentials.create` is given, as JSON. `owner` is the subject's id and name."""
    stream, name = owner
    options, _ = _server(site).register_begin(
        PublicKeyCredentialUserEntity(id=stream, name=name, display_name=name),
        credentials=_descriptors(held),
        resident_key_requirement=ResidentKeyRequirement.PREFERRED,
        user_verification=UserVerificationRequirement.PREFERRED,
        challenge=challenge,
    )
    return json.dumps(dict(options.public_key))


def to_sign(site: Site, challenge: bytes, held: Iterable[Factor], *, alone: bool) -> str:
    """What `navigator.credentials.get` is given, as JSON; without factors, the person chooses who to be."""
    wanted = UserVerificationRequirement.REQUIRED if alone else UserVerificationRequirement.PREFERRED
    options, _ = _server(site).authenticate_begin(
        _descriptors(held) or None, challenge=challenge, user_verification=wanted
    )
    return json.dumps(dict(options.public_key))


def made(site: Site, answer: str, challenge: bytes) -> Made | None:
    """What a browser made, if it did so for us and for this challenge. Attestation is not asked for."""
    told = _read(answer)
    if told is None:
        return None
    try:
        response = RegistrationResponse.from_dict(told)
        data = _server(site).register_complete(_state(challenge), response)
    except Exception:  # noqa: BLE001 - the library raises whatever its parsers do; for us it is no answer
        return None
    found = data.credential_data
    crossed = response.response.client_data.cross_origin
    if found is None or crossed or found.public_key.get(3) not in ALGORITHMS:
        return None
    if len(found.credential_id) > MAX_CREDENTIAL:
        return None
    key = cbor.encode(dict(found.public_key))
    synced, verified = data.is_backup_eligible(), data.is_user_verified()
    return Made(_text(found.credential_id), _text(key), data.counter, synced, verified)


def asserted(site: Site, answer: str, challenge: bytes, held: Iterable[Factor]) -> Assertion | None:
    """Which of these passkeys signed this challenge for us, and what it said of itself."""
    told, known = _read(answer), {one.credential: one for one in held if one.public_key}
    if told is None or not known:
        return None
    try:
        response = AuthenticationResponse.from_dict(told)
        used = _server(site).authenticate_complete(_state(challenge), [*map(_credential, known.values())], response)
    except Exception:  # noqa: BLE001 - as above
        return None
    if response.response.client_data.cross_origin:
        return None
    data = response.response.authenticator_data
    return Assertion(known[_text(used.credential_id)].id, data.counter, data.is_user_verified())


def owner_of(answer: str) -> bytes | None:
    """Whom the authenticator says that it signed for: a subject's id, to be believed after `asserted` only."""
    told = _read(answer)
    response = told.get("response") if told else None
    handle = response.get("userHandle") if isinstance(response, dict) else None
    try:
        found = _bytes(handle) if isinstance(handle, str) else b""
    except ValueError:
        return None
    return found if len(found) == 16 else None


def _server(site: Site) -> Fido2Server:
    server = Fido2Server(
        PublicKeyCredentialRpEntity(id=site.host, name=NAME),
        attestation=AttestationConveyancePreference.NONE,
        verify_origin=lambda origin: origin == site.origin,
    )
    server.allowed_algorithms = [
        PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=alg) for alg in ALGORITHMS
    ]
    return server


def _state(challenge: bytes) -> dict[str, Any]:
    # As its own `…_begin` would have made it. Whether the user must be verified, the rules decide (`core.factor`).
    return {"challenge": _text(challenge), "user_verification": None}


def _descriptors(held: Iterable[Factor]) -> list[PublicKeyCredentialDescriptor]:
    found = (one for one in held if one.credential)
    return [
        PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=_bytes(one.credential))
        for one in found
    ]


def _credential(held: Factor) -> AttestedCredentialData:
    key = CoseKey.parse(cast("Mapping[int, Any]", cbor.decode(_bytes(held.public_key))))
    return AttestedCredentialData.create(_AAGUID, _bytes(held.credential), key)


def _read(answer: str) -> dict[str, Any] | None:
    if len(answer) > MAX_ANSWER or json_flaw(answer.encode("utf-8", "surrogatepass")) is not None:
        return None
    told = json.loads(answer)
    return told if isinstance(told, dict) else None


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
