"""Every fact there is, and which noun's fold takes it. Pure; the order of codes is the order of the documentation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from events import action, client, factor, family, key, log, subject, webhook
from events.decision import State
from events.fact import Fact
from events.private import Account


class Noun(NamedTuple):
    """One kind of stream: the state it folds into, the facts that can begin it, and those that can follow."""

    name: str
    state: type[msgspec.Struct]
    openings: tuple[type[Fact], ...]
    changes: tuple[type[Fact], ...]
    begin: Callable[..., Any]
    evolve: Callable[..., Any]


FAMILY = Noun(
    "family",
    family.Family,
    (family.TokenIssued,),
    (
        family.TokenRotated,
        family.TokenRetried,
        family.TokenReuseDetected,
        family.TokenRefused,
        family.FamilyRevoked,
        family.FamilyExpired,
        family.FamilyContextChanged,
        family.DashboardLookedUp,
        family.DashboardExported,
        family.DashboardPreviewed,
    ),
    family.begin,
    family.evolve,
)
SUBJECT = Noun(
    "subject",
    subject.Subject,
    (subject.SubjectRegistered,),
    (
        subject.SubjectPasswordChanged,
        subject.SubjectLoginFailed,
        subject.SubjectLoginBlocked,
        subject.SubjectRolesChanged,
        subject.SubjectDisabled,
        subject.SubjectEnabled,
        subject.SubjectErased,
        subject.SubjectLoginSucceeded,
        factor.SubjectFactorAdded,
        factor.SubjectFactorRemoved,
        factor.SubjectFactorUsed,
        factor.SubjectFactorFailed,
        factor.SubjectRecoveryCodesMade,
        factor.SubjectRecoveryCodeUsed,
        factor.SubjectFactorAsked,
    ),
    subject.begin,
    subject.evolve,
)
CLIENT = Noun(
    "client",
    client.Client,
    (client.ClientRegistered,),
    (
        client.ClientUpdated,
        client.ClientDisabled,
        client.ClientEnabled,
        client.ClientSecretRotated,
        client.AccessRevoked,
    ),
    client.begin,
    client.evolve,
)
KEY = Noun(
    "key",
    key.Key,
    (key.KeyCreated,),
    (key.KeyActivated, key.KeyRetired, key.KeyRevoked, key.KeyRewrapped),
    key.begin,
    key.evolve,
)
LOG = Noun(
    "log",
    log.Log,
    (log.LogStarted,),
    (log.ContextExpired, log.LedgerRecovered, log.MasterKeyRevoked),
    log.begin,
    log.evolve,
)
ACTION = Noun(
    "action",
    action.Action,
    (action.ActionPlanned, action.ActionStarted),
    (action.ActionTargeted, action.ActionStarted, action.ActionFinished),
    action.begin,
    action.evolve,
)
WEBHOOK = Noun(
    "webhook",
    webhook.Webhook,
    (webhook.WebhookRegistered,),
    (
        webhook.WebhookUpdated,
        webhook.WebhookSecretRotated,
        webhook.WebhookDisabled,
        webhook.WebhookEnabled,
        webhook.WebhookRemoved,
        webhook.WebhookDeadLettered,
        webhook.WebhookReplayed,
        webhook.WebhookPinged,
        webhook.WebhookSecretRewrapped,
    ),
    webhook.begin,
    webhook.evolve,
)
NOUNS = (FAMILY, SUBJECT, CLIENT, KEY, LOG, ACTION, WEBHOOK)

FACTS: tuple[type[Fact], ...] = tuple(
    sorted({fact for noun in NOUNS for fact in (*noun.openings, *noun.changes)}, key=lambda fact: fact.CODE)
)
"""Ordered as documented."""

BY_CODE = {fact.CODE: fact for fact in FACTS}
BY_TYPE = {fact.TYPE: fact for fact in FACTS}
NOUN_OF = {fact: noun for noun in NOUNS for fact in (*noun.openings, *noun.changes)}
_BEGIN = {fact: noun.begin for noun in NOUNS for fact in noun.openings}
_EVOLVE = {(noun.state, fact): noun.evolve for noun in NOUNS for fact in noun.changes}
_DECODERS = {fact.CODE: msgspec.json.Decoder(fact) for fact in FACTS}


class Illegal(ValueError):
    """A fact that cannot follow: a stream that begins twice, or changes before it began."""


def decode(code: int, body: bytes) -> Fact:
    """The fact stored as `body` under the type `code`. Raises KeyError or msgspec.MsgspecError."""
    return _DECODERS[code].decode(body)


def apply(state: State | None, stream: bytes, at: int, fact: Fact, account: Account) -> State:
    """The next state of `stream`. Raises Illegal where the fact cannot follow."""
    if state is None:
        begin = _BEGIN.get(type(fact))
        if begin is None:
            msg = f"{fact.TYPE} in a stream that has not begun"
            raise Illegal(msg)
        return begin(stream, at, fact, account)  # type: ignore[no-any-return]
    evolve = _EVOLVE.get((type(state), type(fact)))
    if evolve is None:
        msg = f"{fact.TYPE} in a stream that began as something else"
        raise Illegal(msg)
    return evolve(state, at, fact, account)  # type: ignore[no-any-return]
