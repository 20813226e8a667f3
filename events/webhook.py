"""A webhook, a place that events are sent to or fetched by: facts, state, fold. Its address is a private row."""

from typing import Any, ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.ids import named_id
from events.private import Account

PREFIX = "whk"

STANDARD = "standard-webhooks"
"""The event as JSON, signed as Standard Webhooks says."""
SET = "set"
"""Security Event Tokens (RFC 8417) of the CAEP events that the log's events are."""
PUSH = "push"
POLL = "poll"
"""The receiver fetches them (RFC 8936)."""

CLIENT = "client"
"""The receiver switched it off; tokens are not kept for it meanwhile (SSF 1.0 §8.1.2)."""
PAUSED = "paused"
GONE = "gone"
UNREACHABLE = "unreachable"
ALL = -1
"""Stands for every dead letter where one is named by its position."""


class WebhookRegistered(Fact):
    """A webhook was set up. Its address, its filter and its wrapped secret are in the account row."""

    TYPE: ClassVar[str] = "webhook.registered"
    CODE: ClassVar[int] = 97

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    format: str = STANDARD
    """`standard-webhooks` or `set`."""
    method: str = PUSH
    """`push`, or `poll` where the receiver fetches."""
    signals: str = ""
    """Of `set`: the kinds of events that are sent, separated by spaces."""
    wrapped_by: int = 0
    """Number of the master key that wraps the secret; 0 where there is none."""


class WebhookUpdated(Fact):
    """What is sent, or where to, was replaced as a whole. Address and filter are in the account row."""

    TYPE: ClassVar[str] = "webhook.updated"
    CODE: ClassVar[int] = 98

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    method: str = PUSH
    """`push`, or `poll` where the receiver fetches."""
    signals: str = ""
    """Of `set`: the kinds of events that are sent, separated by spaces."""


class WebhookSecretRotated(Fact):
    """The webhook got another secret, wrapped in the account row. Both sign until `until`."""

    TYPE: ClassVar[str] = "webhook.secret_rotated"
    CODE: ClassVar[int] = 99

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    wrapped_by: int = 0
    """Number of the master key that wraps the secret; 0 where there is none."""
    until: int = 0
    """The secret before signs too until then, microseconds; 0 is no longer."""


class WebhookDisabled(Fact):
    """Nothing is sent any more. What happens meanwhile waits in the log."""

    TYPE: ClassVar[str] = "webhook.disabled"
    CODE: ClassVar[int] = 100

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    reason: str = ""
    """`staff`, `client`, `paused`; `gone` where the receiver said so (410), `unreachable` after days of failures."""


class WebhookEnabled(Fact):
    """It is sent again, from where it stopped."""

    TYPE: ClassVar[str] = "webhook.enabled"
    CODE: ClassVar[int] = 101

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""


class WebhookRemoved(Fact):
    """The webhook is gone for good; its address and its secrets are not used any more."""

    TYPE: ClassVar[str] = "webhook.removed"
    CODE: ClassVar[int] = 102

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""


class WebhookDeadLettered(Fact):
    """An event could not be delivered and is not tried any more, unless somebody replays it."""

    TYPE: ClassVar[str] = "webhook.dead_lettered"
    CODE: ClassVar[int] = 103

    webhook: str
    """`whk_…`."""
    position: int
    """Of the event."""
    reason: str
    """What the last try came to, as a code of ours or one of RFC 8935."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    tries: int = 0
    """How often it was sent."""


class WebhookReplayed(Fact):
    """A dead letter is to be tried again, or all of them."""

    TYPE: ClassVar[str] = "webhook.replayed"
    CODE: ClassVar[int] = 104

    webhook: str
    """`whk_…`."""
    position: int
    """Of the event; -1 is all dead letters."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""


class WebhookPinged(Fact):
    """A test was asked for: this event itself is sent. What a receiver wants to hear again is in the account row."""

    TYPE: ClassVar[str] = "webhook.pinged"
    CODE: ClassVar[int] = 105

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""


class WebhookSecretRewrapped(Fact):
    """The same secret under another master key, in the account row."""

    TYPE: ClassVar[str] = "webhook.secret_rewrapped"
    CODE: ClassVar[int] = 106

    webhook: str
    """`whk_…`."""
    client: str = ""
    """Whose it is; empty for one of the operators of this service."""
    wrapped_by: int = 0
    """Number of the master key that wraps the secret."""


WebhookChange: TypeAlias = (
    WebhookUpdated
    | WebhookSecretRotated
    | WebhookDisabled
    | WebhookEnabled
    | WebhookRemoved
    | WebhookDeadLettered
    | WebhookReplayed
    | WebhookPinged
    | WebhookSecretRewrapped
)

ENABLED = "enabled"
DISABLED = "disabled"
REMOVED = "removed"


class Webhook(msgspec.Struct, frozen=True):
    """The fold of a webhook's facts. Times are microseconds since the epoch."""

    id: bytes
    version: int
    status: str
    client: str
    format: str
    method: str
    signals: str
    url: str
    """Empty where the receiver fetches."""
    query: str
    """Of `standard-webhooks`: the filter, as it was typed; empty is everything."""
    reason: str
    """Why it is disabled, or who removed it."""
    registered_at: int
    wrapped: str
    """The secret that signs, or that is sent along with tokens, encrypted under the master key."""
    wrapped_by: int
    secret_at: int
    before: str
    """The wrapped secret before."""
    before_by: int
    before_until: int
    dead: int
    """How many dead letters there ever were."""

    def __repr__(self) -> str:
        return f"Webhook({self.format}, {self.status})"

    @property
    def enabled(self) -> bool:
        return self.status == ENABLED

    @property
    def removed(self) -> bool:
        return self.status == REMOVED


def stream_for(client: str, number: int) -> bytes:
    """Where the n-th stream of shared signals of a client stands: it has one at a time (SSF 1.0 §8.1.1.1)."""
    return named_id("webhook", f"{number}:{client}")


def begin(stream: bytes, at: int, fact: WebhookRegistered, account: Account) -> Webhook:
    """The state after it was set up."""
    return Webhook(
        id=stream,
        version=1,
        status=ENABLED,
        client=fact.client,
        format=fact.format,
        method=fact.method,
        signals=fact.signals,
        url=account.url,
        query=account.note,
        reason="",
        registered_at=at,
        wrapped=account.wrapped,
        wrapped_by=fact.wrapped_by,
        secret_at=at if account.wrapped else 0,
        before="",
        before_by=0,
        before_until=0,
        dead=0,
    )


def evolve(state: Webhook, at: int, fact: WebhookChange, account: Account) -> Webhook:
    """The state after one more fact."""
    changed: dict[str, Any] = {}
    match fact:
        case WebhookUpdated():
            told = {"method": fact.method, "signals": fact.signals}
            changed = told | {"url": account.url, "query": account.note}
        case WebhookSecretRotated() | WebhookSecretRewrapped():
            changed = _rotated(state, at, fact, account)
        case WebhookDisabled():
            changed = {"status": PAUSED if fact.reason == PAUSED else DISABLED, "reason": fact.reason}
        case WebhookEnabled():
            changed = {"status": ENABLED, "reason": ""}
        case WebhookRemoved():
            changed = {"status": REMOVED, "wrapped": "", "before": "", "url": "", "query": ""}
        case WebhookDeadLettered():
            changed = {"dead": min(state.dead + 1, 2**31 - 1)}
        case WebhookReplayed() | WebhookPinged():
            pass
        case _:
            assert_never(fact)
    return msgspec.structs.replace(state, version=state.version + 1, **changed)


def _rotated(
    state: Webhook, at: int, fact: WebhookSecretRotated | WebhookSecretRewrapped, account: Account
) -> dict[str, Any]:
    newest = {"wrapped": account.wrapped, "wrapped_by": fact.wrapped_by}
    if isinstance(fact, WebhookSecretRewrapped):
        return newest
    kept = (state.wrapped, state.wrapped_by) if fact.until else ("", 0)
    return newest | {
        "secret_at": at,
        "before": kept[0],
        "before_by": kept[1],
        "before_until": fact.until,
    }
