"""How times, spans, ids and actors are written for people. Pure; always UTC."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from core.presence import describe
from core.reason import ERASURE_REASONS, KEY_REASONS, STAFF_REASONS
from events import family, ids
from events.factor import PASSKEY, TOTP, Factors
from events.private import Context

SECOND = 1_000_000
_SHORT = 7
_NBSP = "\N{NO-BREAK SPACE}"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))

REASONS: Mapping[str, str] = (
    KEY_REASONS
    | ERASURE_REASONS
    | STAFF_REASONS
    | {
        "reuse": "a used token came back",
        "logout": "signed out",
        "logout_all": "signed out everywhere",
        "ended_by_user": "ended by the user",
        "replaced": "replaced by a new sign-in",
        "limit": "too many sessions",
        "password_changed": "password changed",
        "subject": "the account was disabled",
        "subject_disabled": "the account was disabled",
        "erased": "the person was erased",
        "restored": "an older copy was restored that still knew it",
        "client_disabled": "the application was disabled",
        "recovered": "the ledger was restored",
        "master_key": "its master key is not trusted",
        "device_changed": "the device changed",
        "network_changed": "the network changed",
        "country_changed": "the country changed",
        "idle": "not used for too long",
        "absolute": "reached its longest lifetime",
        "client": "another application used it",
        "carriage": "it came by the wrong way",
        "dpop_key": "another key than the session's proved itself",
        "dpop_missing": "the session's key was not proved",
        "dpop_replayed": "a proof of the key came twice",
        "dpop_required": "it is not bound to a key, as the application demands",
        "ahead": "newer than the ledger knows",
        "revoked": "the family was already revoked",
        "expired": "the family had already expired",
        "factor_added": "a second factor was added",
        "factors_reset": "the second factors were reset",
        "removed": "taken away by the user",
    }
)

FACTORS: Mapping[str, str] = {"totp": "One-time codes", "passkey": "Passkey", "recovery": "Recovery code"}
"""Kinds of second factors."""


def factors(second: Factors) -> str:
    """`one-time codes, 2 passkeys, 7 recovery codes`; empty where there is nothing."""
    keys = len(second.of_kind(PASSKEY))
    parts = (
        "one-time codes" if second.of_kind(TOTP) else "",
        _counted(keys, "passkey"),
        _counted(second.left, "recovery code"),
    )
    return ", ".join(filter(None, parts))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def reason(code: str) -> str:
    """A code of an event in words, as they stand behind a colon; one that is not known here stays as it is."""
    words = REASONS.get(code, code.replace("_", " "))
    return words[:1].lower() + words[1:]


def reason_alone(code: str) -> str:
    """The same, where nothing stands before it."""
    words = reason(code)
    return words[:1].upper() + words[1:]


def listed(words: Sequence[str]) -> str:
    """`device, network and country`."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


def moment(at: int) -> datetime:
    """Ledger time as a date."""
    return datetime.fromtimestamp(at // SECOND, UTC)


def clock(at: int) -> str:
    """`14:02:11`."""
    return f"{moment(at):%H:%M:%S}"


def day(at: int) -> str:
    """`Monday, 23 November 2026`."""
    date = moment(at)
    return f"{date:%A}, {date.day} {date:%B %Y}"


def stamp(at: int) -> str:
    """`2026-11-23 14:02:11`."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S}"


def iso(at: int) -> str:
    """RFC 3339, for machines."""
    return f"{moment(at):%Y-%m-%dT%H:%M:%SZ}"


def span(microseconds: int) -> str:
    """The two largest units that say something: `1 m 16 s`, `3 d 2 h`, `0.4 s`; its spaces do not break."""
    if microseconds < SECOND:
        return f"{max(0, microseconds) / SECOND:.1f}{_NBSP}s"
    left, said = microseconds // SECOND, []
    for size, unit in _UNITS:
        if left >= size:
            said.append(f"{left // size}{_NBSP}{unit}")
            left %= size
        elif said:
            break
    return _NBSP.join(said[:2])


def lately(at: int, now: int) -> str:
    """The time of day where that is today's, else how long ago: yesterday's would read as today's."""
    if moment(at).date() == moment(now).date():
        return clock(at)
    left = max(now - at, SECOND) // SECOND
    size, unit = next(one for one in _UNITS if left >= one[0])
    return f"{left // size}{_NBSP}{unit} ago"


def family_id(stream: bytes) -> str:
    """`fam_…` of a family's stream."""
    return ids.to_text(family.PREFIX, stream)


def short(public_id: str) -> str:
    """`fam_…k3x7qab`: ids begin with their time, so the end is what tells two apart."""
    prefix, _, rest = public_id.partition("_")
    return f"{prefix}_…{rest[-_SHORT:]}"


def device(context: Context) -> str:
    """`Chrome 131 · Windows`, empty where nothing is known."""
    return describe(context.agent) if context.agent else ""
