"""What happened, in a sentence and a mark: one entry for each fact. Pure; names and places are the template's."""

from collections.abc import Callable
from typing import Any, NamedTuple

from core.verdict import HOLDER
from dashboard.telling import reason, short, stamp
from events import action, client, family, key, log, subject
from events.fact import Fact


class Told(NamedTuple):
    """How an event is shown. State is always shape, word and colour, so none of them is needed alone."""

    shape: str
    tone: str
    """Class of the colour: `alarm` (red: reuse and kills only), `warn`, `good`, `quiet`, `admin`."""
    word: str
    sentence: str


REUSE, REVOKED, BENIGN, PENDING = "●", "✝", "○", "◔"
BEGUN, WARNING, EXPIRED, CHANGED = "◆", "▲", "◌", "◇"


def tell(fact: Fact) -> Told:
    """The fact for people. One that has no entry is told by its own documentation."""
    found = _TELLERS.get(type(fact))
    if found is None:
        noun, _, verb = fact.TYPE.partition(".")
        return Told(CHANGED, "admin", f"{noun} {verb}".replace("_", " "), (type(fact).__doc__ or "").split("\n")[0])
    return found(fact)


def _issued(fact: family.TokenIssued) -> Told:
    how = {"pwd": "with a password"}.get(fact.amr, f"by {fact.amr}")
    again = ", in place of an earlier family" if fact.replaces else ""
    return Told(BEGUN, "good", "signed in", f"Signed in {how}{again}; generation 1 issued.")


def _rotated(fact: family.TokenRotated) -> Told:
    said = f"Refreshed: generation {fact.generation - 1} used up, {fact.generation} issued."
    return Told(BENIGN, "quiet", "rotated", said)


def _retried(fact: family.TokenRetried) -> Told:
    where = " from another network" if fact.network_tag else ""
    said = f"Generation {fact.generation} came again{where}, soon enough: same successor given."
    return Told(BENIGN, "quiet", "retried", said)


def _reused(fact: family.TokenReuseDetected) -> Told:
    from_where = elsewhere(fact)
    said = f"Used generation {fact.generation} came back {from_where}; generation {fact.current} was current."
    return Told(REUSE, "alarm", "reuse detected", said)


def elsewhere(fact: family.TokenReuseDetected) -> str:
    """Whether it came from where the family was last seen."""
    other = [what for what, tag in (("network", fact.network_tag), ("device", fact.device_tag)) if tag]
    same = [what for what in ("network", "device") if what not in other]
    if not other:
        return "from the same network and device"
    return f"from another {' and '.join(other)}" + (f", same {same[0]}" if same else "")


def _refused(fact: family.TokenRefused) -> Told:
    more = f" {fact.omitted} more like it were not recorded." if fact.omitted else ""
    said = f"Generation {fact.generation} refused: {reason(fact.reason)}.{more}"
    return Told(WARNING, "warn", "refused", said)


def _revoked(fact: family.FamilyRevoked) -> Told:
    ticket = f" ({fact.ticket})" if fact.ticket else ""
    tone = "quiet" if fact.actor == HOLDER or fact.reason == "limit" else "alarm"
    return Told(REVOKED, tone, "revoked", f"Family ended: {reason(fact.reason)}{ticket}.")


def _expired(fact: family.FamilyExpired) -> Told:
    return Told(EXPIRED, "quiet", "expired", f"Family ended: {reason(fact.reason)}.")


def _moved(fact: family.FamilyContextChanged) -> Told:
    return Told(WARNING, "warn", "moved", f"Used from another {' and '.join(fact.changed.split())} than before.")


def _failed(fact: subject.SubjectLoginFailed) -> Told:
    row = "" if fact.failures == 1 else f", {fact.failures} in a row"
    return Told(WARNING, "warn", "sign-in failed", f"Wrong password, or one that opens nothing here{row}.")


def _blocked(fact: subject.SubjectLoginBlocked) -> Told:
    said = f"Networks that are new to this account wait until {stamp(fact.until)}."
    return Told(PENDING, "warn", "sign-in blocked", said)


def _registered(fact: subject.SubjectRegistered) -> Told:
    roles = f" with the roles {fact.roles}" if fact.roles else ""
    return Told(CHANGED, "admin", "account created", f"Account created{roles}.")


def _password(fact: subject.SubjectPasswordChanged) -> Told:
    said = {
        "changed": "The user changed the password; all other families ended.",
        "set": "Staff set a password; all families ended.",
        "upgraded": "The stored password hash was renewed; the password is the same.",
    }.get(fact.reason, "The password was changed.")
    return Told(CHANGED, "admin", "password changed", said)


def _roles(fact: subject.SubjectRolesChanged) -> Told:
    return Told(CHANGED, "admin", "roles changed", f"Roles are now: {fact.roles or 'none'}.")


def _disabled(fact: subject.SubjectDisabled) -> Told:
    return Told(REVOKED, "alarm", "account disabled", f"Account disabled: {reason(fact.reason)}. All families ended.")


def _enabled(_fact: subject.SubjectEnabled) -> Told:
    return Told(BEGUN, "good", "account enabled", "Account enabled; no family comes back.")


def _welcome(_fact: subject.SubjectLoginSucceeded) -> Told:
    return Told(BENIGN, "quiet", "sign-in", "Right password after failures, or from a network that is new here.")


def _client(word: str, sentence: str) -> Callable[[Any], Told]:
    return lambda fact: Told(CHANGED, "admin", word, sentence.format(fact.client))


def _key(word: str, sentence: str, tone: str = "admin") -> Callable[[Any], Told]:
    return lambda fact: Told(REVOKED if tone == "alarm" else CHANGED, tone, word, sentence.format(fact.key[:8]))


def _started(_fact: log.LogStarted) -> Told:
    return Told(BEGUN, "good", "ledger started", "An empty ledger was taken into use.")


def _forgotten(fact: log.ContextExpired) -> Told:
    return Told(CHANGED, "admin", "contexts expired", f"Addresses and devices of events before #{fact.below} deleted.")


def _recovered(fact: log.LedgerRecovered) -> Told:
    said = f"An older copy of {fact.size} events was taken into use; {fact.lost} events are lost."
    return Told(WARNING, "warn", "recovered", said)


def _planned(fact: action.ActionPlanned) -> Told:
    return Told(CHANGED, "admin", "selected", f"Selected {_families(fact.planned)} for an action; nothing ended yet.")


def _targeted(fact: action.ActionTargeted) -> Told:
    return Told(CHANGED, "admin", "selection", f"A part of a selection: {_families(len(fact.families.split()))}.")


def _started_action(fact: action.ActionStarted) -> Told:
    what = {
        "disable_subject": "disable an account",
        "enable_subject": "enable an account",
        "revoke_key": "revoke a key",
    }
    ticket = f" ({fact.ticket})" if fact.ticket else ""
    said = what.get(fact.kind, f"end {_families(fact.planned)}")
    return Told(CHANGED, "admin", "confirmed", f"Confirmed: {said}. {reason(fact.reason)}{ticket}.")


def _finished(fact: action.ActionFinished) -> Told:
    spared = f", {fact.spared:,} had ended before" if fact.spared else ""
    added = f", {fact.added:,} of them began after the preview" if fact.added else ""
    return Told(CHANGED, "admin", "carried out", f"Carried out: {_families(fact.ended)} ended{added}{spared}.")


def _families(count: int) -> str:
    return "1 family" if count == 1 else f"{count:,} families"


def _looked_up(fact: family.DashboardLookedUp) -> Told:
    what = "and nothing was found" if fact.kind == "nothing" else f"as {fact.kind.replace('_', ' ')}"
    return Told(BENIGN, "quiet", "looked up", f"Something was looked up {what}; fingerprint {fact.fingerprint}.")


def _exported(fact: family.DashboardExported) -> Told:
    return Told(CHANGED, "admin", "exported", f"Events taken out as {fact.format}, of the log below #{fact.position}.")


def _previewed(fact: family.DashboardPreviewed) -> Told:
    return Told(BENIGN, "quiet", "previewed", f"Looked at what an action on {short(fact.target)} would do.")


_TELLERS: dict[type[Fact], Callable[[Any], Told]] = {
    family.TokenIssued: _issued,
    family.TokenRotated: _rotated,
    family.TokenRetried: _retried,
    family.TokenReuseDetected: _reused,
    family.TokenRefused: _refused,
    family.FamilyRevoked: _revoked,
    family.FamilyExpired: _expired,
    family.FamilyContextChanged: _moved,
    subject.SubjectRegistered: _registered,
    subject.SubjectPasswordChanged: _password,
    subject.SubjectLoginFailed: _failed,
    subject.SubjectLoginBlocked: _blocked,
    subject.SubjectLoginSucceeded: _welcome,
    subject.SubjectRolesChanged: _roles,
    subject.SubjectDisabled: _disabled,
    subject.SubjectEnabled: _enabled,
    client.ClientRegistered: _client("client added", "Client {} registered."),
    client.ClientUpdated: _client("client changed", "Policy of client {} replaced."),
    client.ClientDisabled: _client("client disabled", "Client {} disabled: its families refuse to refresh."),
    client.ClientEnabled: _client("client enabled", "Client {} enabled."),
    key.KeyCreated: _key("key created", "Signing key {}… made and published; it does not sign yet."),
    key.KeyActivated: _key("key active", "Signing key {}… signs from now on."),
    key.KeyRetired: _key("key retired", "Signing key {}… signs no more; it verifies until its last token expires."),
    key.KeyRevoked: _key("key revoked", "Signing key {}… is not trusted any more.", "alarm"),
    action.ActionPlanned: _planned,
    action.ActionTargeted: _targeted,
    action.ActionStarted: _started_action,
    action.ActionFinished: _finished,
    family.DashboardLookedUp: _looked_up,
    family.DashboardExported: _exported,
    family.DashboardPreviewed: _previewed,
    log.LogStarted: _started,
    log.ContextExpired: _forgotten,
    log.LedgerRecovered: _recovered,
}
