"""The rules of a webhook: set it up, change it, rotate its secret, switch it, replay, ping. Pure: secrets are given."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from events import ids, webhook
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams, knowing
from events.fact import Fact
from events.private import Account
from events.webhook import PREFIX, Webhook

MAX_KEEP = 30 * 86_400
"""Seconds for which a secret signs after its successor was made."""


class Outcome(StrEnum):
    """What became of a command about a webhook."""

    DONE = "done"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    EXISTS = "exists"
    """There is such a stream already."""


class Wrapped(NamedTuple):
    """A secret under a master key."""

    text: str = ""
    by: int = 0
    """Number of the key."""

    def __repr__(self) -> str:
        return f"Wrapped(by={self.by})"


class Plan(NamedTuple):
    """What a webhook is to be: what is sent, and where to."""

    format: str
    method: str = webhook.PUSH
    url: str = ""
    query: str = ""
    signals: str = ""

    def __repr__(self) -> str:
        return f"Plan({self.format}, {self.method})"


def register(stream: bytes, owner: str, actor: str, plan: Plan, wrapped: Wrapped, before: bytes = b"") -> Decide:
    """Set it up, unless there is one in this stream, or one in `before` that was not removed."""
    wanted = frozenset((stream, before)) if before else frozenset((stream,))

    def decide(states: States, _moment: Moment) -> Decision | Need:
        earlier = states.webhook(before) if before else None
        if states.webhook(stream) is not None or (earlier is not None and not earlier.removed):
            return Decision(Outcome.EXISTS)
        fact = webhook.WebhookRegistered(
            actor=actor,
            webhook=ids.to_text(PREFIX, stream),
            client=owner,
            format=plan.format,
            method=plan.method,
            signals=plan.signals,
            wrapped_by=wrapped.by,
        )
        return Decision(Outcome.DONE, (Change(stream, fact, _account(plan, wrapped.text)),))

    return knowing(Streams(webhooks=wanted), decide)


def update(stream: bytes, actor: str, changes: dict[str, str]) -> Decide:
    """Change some of its plan."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        plan = plan_of(state)._replace(**changes)
        if plan == plan_of(state):
            return Decision(Outcome.UNCHANGED)
        fact = webhook.WebhookUpdated(actor=actor, **_named(state), method=plan.method, signals=plan.signals)
        return _done(state, fact, _account(plan))

    return _about(stream, decide)


def rotate_secret(stream: bytes, actor: str, wrapped: Wrapped, keep: int) -> Decide:
    """Replace the secret. Both sign for `keep` seconds, so that a receiver can change over; at most two do."""

    def decide(state: Webhook, moment: Moment) -> Decision:
        until = moment.now + keep * 1_000_000 if keep and state.wrapped else 0
        fact = webhook.WebhookSecretRotated(actor=actor, **_named(state), wrapped_by=wrapped.by, until=until)
        return _done(state, fact, Account(wrapped=wrapped.text))

    return _about(stream, decide)


def rewrap(stream: bytes, before: str, wrapped: Wrapped) -> Decide:
    """Keep the secret under another master key, unless it is another secret by now."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        if state.wrapped != before:
            return Decision(Outcome.UNCHANGED)
        fact = webhook.WebhookSecretRewrapped(actor="system", **_named(state), wrapped_by=wrapped.by)
        return _done(state, fact, Account(wrapped=wrapped.text))

    return _about(stream, decide)


def disable(stream: bytes, actor: str, reason: str) -> Decide:
    """Send nothing any more; or pause it, which only says that it will go on."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        wanted = webhook.PAUSED if reason == webhook.PAUSED else webhook.DISABLED
        if state.status == wanted:
            return Decision(Outcome.UNCHANGED)
        return _done(state, webhook.WebhookDisabled(actor=actor, **_named(state), reason=reason))

    return _about(stream, decide)


def enable(stream: bytes, actor: str) -> Decide:
    """Go on from where it stopped."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        if state.enabled:
            return Decision(Outcome.UNCHANGED)
        return _done(state, webhook.WebhookEnabled(actor=actor, **_named(state)))

    return _about(stream, decide)


def remove(stream: bytes, actor: str) -> Decide:
    """End it for good."""
    return _about(stream, lambda state, _: _done(state, webhook.WebhookRemoved(actor=actor, **_named(state))))


def dead_letter(stream: bytes, position: int, tries: int, reason: str, actor: str = "system") -> Decide:
    """An event is given up."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        fact = webhook.WebhookDeadLettered(actor=actor, **_named(state), position=position, tries=tries, reason=reason)
        return _done(state, fact)

    return _about(stream, decide)


def replay(stream: bytes, actor: str, position: int) -> Decide:
    """Try a dead letter again, or all of them; that there is one, who asks has looked."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        return _done(state, webhook.WebhookReplayed(actor=actor, **_named(state), position=position))

    return _about(stream, decide)


def ping(stream: bytes, actor: str, state_text: str = "") -> Decide:
    """Send this itself, so that a receiver can be tried."""

    def decide(state: Webhook, _moment: Moment) -> Decision:
        account = Account(note=state_text) if state_text else None
        return _done(state, webhook.WebhookPinged(actor=actor, **_named(state)), account)

    return _about(stream, decide)


def plan_of(state: Webhook) -> Plan:
    """What it is today."""
    return Plan(state.format, state.method, state.url, state.query, state.signals)


def _account(plan: Plan, wrapped: str = "") -> Account:
    return Account(url=plan.url, note=plan.query, wrapped=wrapped)


def _named(state: Webhook) -> dict[str, Any]:
    return {"webhook": ids.to_text(PREFIX, state.id), "client": state.client}


def _about(stream: bytes, decide: Callable[[Webhook, Moment], Decision]) -> Decide:
    """A rule about a webhook that there is."""

    def loaded(states: States, moment: Moment) -> Decision:
        state = states.webhook(stream)
        if state is None or state.removed:
            return Decision(Outcome.UNKNOWN)
        return decide(state, moment)

    return knowing(Streams(webhooks=frozenset((stream,))), loaded)


def _done(state: Webhook, fact: Fact, account: Account | None = None) -> Decision:
    return Decision(Outcome.DONE, (Change(state.id, fact, account),))
