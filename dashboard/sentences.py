"""What happened, in a sentence and a mark: one entry for each fact. Pure; names and places are the template's."""

from collections.abc import Callable
from typing import Any, NamedTuple

from core.verdict import HOLDER
from dashboard.telling import FACTORS, listed, reason, reason_alone, short, stamp
from events import action, client, factor, family, key, log, subject, webhook
from events.fact import Fact
from events.family import COUNTRY, DEVICE, NETWORK


class Told(NamedTuple):
    """How an event is shown. State is always shape, word and colour, so none of them is needed alone."""

    shape: str
    tone: str
    """Class of the colour: `alarm` (red: copies that are used, and kills, only), `warn`, `good`, `quiet`, `admin`."""
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
    how = _HOW.get(fact.amr, f"by {fact.amr}")
    again = ", in place of an earlier family" if fact.replaces else ""
    return Told(BEGUN, "good", "signed in", f"Signed in {how}{again}; generation 1 issued.")


_HOW = {
    "": "at the application",
    "pwd": "with a password",
    "pwd otp": "with a password and a code",
    "pwd hwk": "with a password and a passkey",
    "pwd swk": "with a password and a synced passkey",
    "hwk mfa": "with a passkey alone",
    "swk mfa": "with a synced passkey alone",
}


def _rotated(fact: family.TokenRotated) -> Told:
    said = f"Refreshed: generation {fact.generation - 1} used up, {fact.generation} issued."
    return Told(BENIGN, "quiet", "rotated", said)


def _retried(fact: family.TokenRetried) -> Told:
    other = [what for what, tag in ((NETWORK, fact.network_tag), (COUNTRY, fact.country_tag)) if tag]
    where = f" from another {listed(other)}" if other else ""
    said = f"Generation {fact.generation} came again{where}, soon enough: same successor given."
    return Told(BENIGN, "quiet", "retried", said)


def _reused(fact: family.TokenReuseDetected) -> Told:
    from_where = elsewhere(fact)
    said = f"Used generation {fact.generation} came back {from_where}; generation {fact.current} was current."
    return Told(REUSE, "alarm", "reuse detected", said)


def elsewhere(fact: family.TokenReuseDetected) -> str:
    """Whether it came from where the family was last seen."""
    tags = ((NETWORK, fact.network_tag), (COUNTRY, fact.country_tag), (DEVICE, fact.device_tag))
    other = [what for what, tag in tags if tag]
    same = [what for what in (NETWORK, DEVICE) if what not in other]
    if not other:
        return "from the same network and device"
    return f"from another {listed(other)}" + (f", same {same[0]}" if same else "")


def _refused(fact: family.TokenRefused) -> Told:
    more = f" {fact.omitted} more like it were not recorded." if fact.omitted else ""
    if fact.changed:
        where = f"because it came from another {listed(fact.changed.split())}"
        return Told(WARNING, "warn", "refused", f"Generation {fact.generation} refused, {where}.{more}")
    what = f"Generation {fact.generation}" if fact.generation else "An access token was"
    said = f"{what} refused: {reason(fact.reason)}.{more}"
    return Told(WARNING, "warn", "refused", said)


def _revoked(fact: family.FamilyRevoked) -> Told:
    ticket = f" ({fact.ticket})" if fact.ticket else ""
    tone = "quiet" if fact.actor == HOLDER or fact.reason == "limit" else "alarm"
    if fact.changed:
        said = f"Family ended, because it was used from another {listed(fact.changed.split())}."
        return Told(REVOKED, tone, "revoked", said)
    return Told(REVOKED, tone, "revoked", f"Family ended: {reason(fact.reason)}{ticket}.")


def _expired(fact: family.FamilyExpired) -> Told:
    return Told(EXPIRED, "quiet", "expired", f"Family ended: {reason(fact.reason)}.")


def _moved(fact: family.FamilyContextChanged) -> Told:
    changed = fact.changed.split()
    tone = "quiet" if changed == [NETWORK] else "warn"
    return Told(CHANGED, tone, "moved", f"Used from another {listed(changed)} than before: observed, not refused.")


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


def _erased(fact: subject.SubjectErased) -> Told:
    more = ", with notes and queries about it" if fact.texts else ""
    said = f"Everything known of this person was deleted{more}: {reason(fact.reason)}. All families ended."
    return Told(REVOKED, "alarm", "erased", said)


def _welcome(_fact: subject.SubjectLoginSucceeded) -> Told:
    return Told(BENIGN, "quiet", "sign-in", "Right password after failures, or from a network that is new here.")


def _factor(kind: str) -> str:
    return FACTORS.get(kind, kind).lower()


def _factor_added(fact: factor.SubjectFactorAdded) -> Told:
    said = f"Second factor added: {_factor(fact.kind)}. Other sessions at the dashboard ended."
    return Told(CHANGED, "admin", "factor added", said)


def _factor_removed(fact: factor.SubjectFactorRemoved) -> Told:
    ticket = f" ({fact.ticket})" if fact.ticket else ""
    said = f"Second factor gone: {_factor(fact.kind)}; {reason(fact.reason)}{ticket}."
    return Told(CHANGED, "admin" if fact.actor == HOLDER else "warn", "factor removed", said)


_FOR = {"sign_in": "to sign in", "again": "to confirm"}


def _factor_used(fact: factor.SubjectFactorUsed) -> Told:
    said = f"Second factor given {_FOR.get(fact.purpose, fact.purpose)}: {_factor(fact.kind)}."
    return Told(BENIGN, "quiet", "second factor", said)


def _factor_failed(fact: factor.SubjectFactorFailed) -> Told:
    what = {
        "wrong": f"Right password, but the second factor did not fit: {_factor(fact.kind)}",
        "replayed": "A one-time code that had been used came again",
        "cloned": "A passkey's counter did not grow: there may be a copy of it",
    }.get(fact.reason, "The second factor did not fit")
    row = f", {fact.failures} in a row" if fact.failures > 1 else ""
    wait = (
        f" Codes from {'known' if fact.known else 'new'} networks wait until {stamp(fact.until)}." if fact.until else ""
    )
    return Told(WARNING, "alarm" if fact.reason == "cloned" else "warn", "factor failed", f"{what}{row}.{wait}")


def _codes_made(fact: factor.SubjectRecoveryCodesMade) -> Told:
    said = f"Made {fact.count} recovery codes; those before stopped working."
    return Told(CHANGED, "admin", "recovery codes", said)


def _code_used(fact: factor.SubjectRecoveryCodeUsed) -> Told:
    said = f"A recovery code was given {_FOR.get(fact.purpose, fact.purpose)}; {fact.left} are left."
    return Told(WARNING, "warn", "recovery code", said)


def _factor_asked(_fact: factor.SubjectFactorAsked) -> Told:
    return Told(PENDING, "quiet", "factor asked", "Right password; the second factor was asked for.")


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


def _master_revoked(fact: log.MasterKeyRevoked) -> Told:
    said = f"No refresh token under master key {fact.number} is taken any more."
    return Told(REVOKED, "alarm", "master key revoked", said)


def _planned(fact: action.ActionPlanned) -> Told:
    return Told(CHANGED, "admin", "selected", f"Selected {_families(fact.planned)} for an action; nothing ended yet.")


def _targeted(fact: action.ActionTargeted) -> Told:
    return Told(CHANGED, "admin", "selection", f"A part of a selection: {_families(len(fact.families.split()))}.")


def _started_action(fact: action.ActionStarted) -> Told:
    what = {
        "disable_subject": "disable an account",
        "enable_subject": "enable an account",
        "revoke_key": "revoke a key",
        "erase_subject": "erase an account",
        "revoke_master_key": f"revoke master key {fact.target}",
    }
    ticket = f" ({fact.ticket})" if fact.ticket else ""
    said = what.get(fact.kind, f"end {_families(fact.planned)}")
    return Told(CHANGED, "admin", "confirmed", f"Confirmed: {said}. {reason_alone(fact.reason)}{ticket}.")


def _finished(fact: action.ActionFinished) -> Told:
    if not fact.ended + fact.spared + fact.added:
        return Told(CHANGED, "admin", "carried out", "Carried out.")
    spared = f", {fact.spared:,} had ended before" if fact.spared else ""
    added = f", {fact.added:,} of them began after the preview" if fact.added else ""
    return Told(CHANGED, "admin", "carried out", f"Carried out: {_families(fact.ended)} ended{added}{spared}.")


def _hook(word: str, sentence: str) -> Callable[[Any], Told]:
    return lambda fact: Told(CHANGED, "admin", word, sentence.format(short(fact.webhook)))


def _hook_off(fact: webhook.WebhookDisabled) -> Told:
    why = {
        webhook.GONE: "its receiver said that it is gone",
        webhook.UNREACHABLE: "its receiver took nothing for days",
        webhook.PAUSED: "it is paused",
    }.get(fact.reason, "switched off")
    tone = "warn" if fact.actor == "system" else "admin"
    return Told(WARNING, tone, "webhook disabled", f"Webhook {short(fact.webhook)} is sent nothing: {why}.")


def _dead(fact: webhook.WebhookDeadLettered) -> Told:
    why = fact.reason.replace("_", " ")
    said = f"Event #{fact.position} given up for webhook {short(fact.webhook)} after {fact.tries} tries: {why}."
    return Told(WARNING, "warn", "dead letter", said)


def _replayed(fact: webhook.WebhookReplayed) -> Told:
    what = "All dead letters" if fact.position < 0 else f"Event #{fact.position}"
    return Told(CHANGED, "admin", "replayed", f"{what} sent again to webhook {short(fact.webhook)}.")


def _families(count: int) -> str:
    return "1 family" if count == 1 else f"{count:,} families"


def _looked_up(fact: family.DashboardLookedUp) -> Told:
    what = "and nothing was found" if fact.kind == "nothing" else f"as {fact.kind.replace('_', ' ')}"
    return Told(BENIGN, "quiet", "looked up", f"Something was looked up {what}; fingerprint {fact.fingerprint}.")


def _exported(fact: family.DashboardExported) -> Told:
    return Told(CHANGED, "admin", "exported", f"Events taken out as {fact.format}, of the log below #{fact.position}.")


def _previewed(fact: family.DashboardPreviewed) -> Told:
    return Told(BENIGN, "quiet", "previewed", f"Looked at what an action on {_named(fact.target)} would do.")


def _named(target: str) -> str:
    if target.startswith(("fam_", "sub_", "act_")):
        return short(target)
    return target if target.startswith("master key ") else f"key {target[:8]}…"


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
    subject.SubjectErased: _erased,
    factor.SubjectFactorAdded: _factor_added,
    factor.SubjectFactorRemoved: _factor_removed,
    factor.SubjectFactorUsed: _factor_used,
    factor.SubjectFactorFailed: _factor_failed,
    factor.SubjectRecoveryCodesMade: _codes_made,
    factor.SubjectRecoveryCodeUsed: _code_used,
    factor.SubjectFactorAsked: _factor_asked,
    client.ClientRegistered: _client("application added", "Application {} registered."),
    client.ClientUpdated: _client("application changed", "Policy of application {} replaced."),
    client.ClientDisabled: _client("application disabled", "Application {} disabled: its families refuse to refresh."),
    client.ClientEnabled: _client("application enabled", "Application {} enabled."),
    client.ClientSecretRotated: _client("secret rotated", "Application {} got a new secret."),
    client.AccessRevoked: _client("access revoked", "All access tokens that application {} held itself were revoked."),
    key.KeyCreated: _key("key created", "Signing key {}… made and published; it does not sign yet."),
    key.KeyActivated: _key("key active", "Signing key {}… signs from now on."),
    key.KeyRetired: _key("key retired", "Signing key {}… signs no more; it verifies until its last token expires."),
    key.KeyRewrapped: _key(
        "key rewrapped", "Signing key {}… is wrapped by another master key now; it signs as before."
    ),
    key.KeyRevoked: _key("key revoked", "Signing key {}… is not trusted any more.", "alarm"),
    action.ActionPlanned: _planned,
    action.ActionTargeted: _targeted,
    action.ActionStarted: _started_action,
    action.ActionFinished: _finished,
    family.DashboardLookedUp: _looked_up,
    family.DashboardExported: _exported,
    family.DashboardPreviewed: _previewed,
    webhook.WebhookRegistered: _hook("webhook added", "Webhook {} set up."),
    webhook.WebhookUpdated: _hook("webhook changed", "What webhook {} is sent was changed."),
    webhook.WebhookSecretRotated: _hook("secret rotated", "Webhook {} got a new secret."),
    webhook.WebhookDisabled: _hook_off,
    webhook.WebhookEnabled: _hook("webhook enabled", "Webhook {} is sent events again, from where it stopped."),
    webhook.WebhookRemoved: _hook("webhook removed", "Webhook {} removed."),
    webhook.WebhookDeadLettered: _dead,
    webhook.WebhookReplayed: _replayed,
    webhook.WebhookSecretRewrapped: _hook("secret rewrapped", "The secret of webhook {} is under the new master key."),
    webhook.WebhookPinged: _hook("webhook pinged", "A test was sent to webhook {}."),
    log.LogStarted: _started,
    log.ContextExpired: _forgotten,
    log.LedgerRecovered: _recovered,
    log.MasterKeyRevoked: _master_revoked,
}
