"""Security Event Tokens (RFC 8417) of what the log says, as CAEP 1.0 and SSF 1.0 have them. Pure; signs nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from events import ids
from events.fact import Fact
from events.factor import PASSKEY, TOTP, SubjectFactorAdded, SubjectFactorRemoved
from events.family import PREFIX as FAMILY
from events.family import FamilyRevoked
from events.subject import UPGRADED, SubjectPasswordChanged
from events.webhook import PREFIX, WebhookPinged

CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"
SESSION_REVOKED: Final = "session-revoked"
CREDENTIAL_CHANGE: Final = "credential-change"
URIS: Final = {name: f"{CAEP}{name}" for name in (SESSION_REVOKED, CREDENTIAL_CHANGE)}
"""What can be asked for, by the short names that the log keeps."""
VERIFICATION: Final = f"{SSF}verification"
FACTS: Final[Mapping[str, tuple[type[Fact], ...]]] = {
    SESSION_REVOKED: (FamilyRevoked,),
    CREDENTIAL_CHANGE: (SubjectPasswordChanged, SubjectFactorAdded, SubjectFactorRemoved),
}
"""Which facts are told as which event. A reuse is told by the end of its family, which stands in the same commit."""
CODES: Final = tuple(fact.CODE for facts in FACTS.values() for fact in facts)
"""Of everything that a token is made of, but the receivers' own verifications."""
TYPE: Final = "secevent+jwt"
MEDIA: Final = "application/secevent+jwt"
ERRORS: Final = frozenset(
    "invalid_request invalid_key invalid_issuer invalid_audience "
    "authentication_failed access_denied invalid_state".split()
)
"""What a receiver may say against a token (RFC 8935 §2.4, SSF 1.0 §8.1.4.2); nothing of it goes away by itself."""

Claims = dict[str, Any]


def codes_of(signals: str) -> tuple[int, ...]:
    """The codes of the facts that these kinds of events are told of."""
    return tuple(fact.CODE for name in signals.split() for fact in FACTS.get(name, ()))


def claims(
    fact: Fact, stream: bytes, at: int, *, name: str, issuer: str, audience: str, typed: str = ""
) -> Claims | None:
    """The claims of the token of one event; None where it is told to nobody.

    `name` is the message's id; `at` microseconds; `typed` what a receiver wants to hear again. There is no `sub` and
    no `exp` (SSF 1.0 §4.1.2), and exactly one event.
    """
    teller = _TELLERS.get(type(fact))
    told = teller(fact, stream, at, issuer, typed) if teller else None
    if told is None:
        return None
    subject, events = told
    return {
        "iss": issuer,
        "jti": name,
        "iat": at // 1_000_000,
        "aud": audience,
        "txn": fact.request or name,
        "sub_id": subject,
        "events": events,
    }


_Told = tuple[Claims, Claims] | None
_CREDENTIALS: Final = {TOTP: "app", PASSKEY: "fido2-roaming"}
"""As CAEP 1.0 §3.3.1 names what the log calls a factor."""


def _revoked(fact: Any, stream: bytes, at: int, issuer: str, _typed: str) -> _Told:
    subject = {
        "format": "complex",
        "session": {"format": "opaque", "id": ids.to_text(FAMILY, stream)},
        "user": _user(fact.subject, issuer),
    }
    event = {
        "event_timestamp": at // 1_000_000,
        "initiating_entity": _initiator(fact.actor),
        "reason_admin": {"en": _reason(fact.reason)},
    }
    return subject, {URIS[SESSION_REVOKED]: event}


def _changed(fact: Any, _stream: bytes, at: int, issuer: str, _typed: str) -> _Told:
    if fact.reason == UPGRADED:
        return None  # the same password under another hash
    subject = {"format": "complex", "user": _user(fact.subject, issuer)}
    event = {
        "credential_type": "password",
        "change_type": "update",
        "event_timestamp": at // 1_000_000,
        "initiating_entity": _initiator(fact.actor),
        "reason_admin": {"en": _reason(fact.reason)},
    }
    return subject, {URIS[CREDENTIAL_CHANGE]: event}


def _factor(change: str) -> Callable[[Any, bytes, int, str, str], _Told]:
    def told(fact: Any, _stream: bytes, at: int, issuer: str, _typed: str) -> _Told:
        event = {
            "credential_type": _CREDENTIALS.get(fact.kind, fact.kind),
            "change_type": change,
            "event_timestamp": at // 1_000_000,
            "initiating_entity": _initiator(fact.actor),
        }
        return {"format": "complex", "user": _user(fact.subject, issuer)}, {URIS[CREDENTIAL_CHANGE]: event}

    return told


def _verification(_fact: Any, stream: bytes, _at: int, _issuer: str, typed: str) -> _Told:
    subject = {"format": "opaque", "id": ids.to_text(PREFIX, stream)}
    return subject, {VERIFICATION: {"state": typed} if typed else {}}


_TELLERS: Final[Mapping[type[Fact], Callable[[Any, bytes, int, str, str], _Told]]] = {
    FamilyRevoked: _revoked,
    SubjectPasswordChanged: _changed,
    SubjectFactorAdded: _factor("create"),
    SubjectFactorRemoved: _factor("delete"),
    WebhookPinged: _verification,
}


def _user(subject: str, issuer: str) -> Claims:
    """As access tokens call the person (RFC 9493 §3.2.4)."""
    return {"format": "iss_sub", "iss": issuer, "sub": subject}


def _initiator(actor: str) -> str:
    """`admin`, `user`, `policy` or `system` (CAEP 1.0 §2)."""
    if actor == "cli" or actor.startswith(("staff:", "client:")):
        return "admin"
    return {"subject": "user", "policy": "policy"}.get(actor, "system")


def _reason(code: str) -> str:
    return {"reuse": "Refresh token reuse detected"}.get(code, code.replace("_", " ").capitalize() or "Unspecified")
