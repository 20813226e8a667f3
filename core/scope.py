"""Scopes and audiences: which of them a token gets. Pure; who may ask is decided elsewhere."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from core.verdict import Verdict
from events.client import Client

SERVICE: Final = {
    "events:read": "Read the audit log.",
    "revocations:read": "Follow what was revoked.",
    "families:read": "Look at families.",
    "families:write": "Begin and end families.",
    "subjects:read": "Look at users.",
    "subjects:write": "Create, disable and enable users.",
    "subjects:erase": "Erase users, for good.",
    "clients:read": "Look at clients.",
    "clients:write": "Register and change clients.",
    "webhooks:read": "Look at webhooks and what became of what they were sent.",
    "webhooks:write": "Set up and change webhooks, and so receive events of its own.",
    "ssf.read": "Read its stream of shared signals, and fetch what is in it.",
    "ssf.manage": "Begin and change its stream of shared signals.",
    "introspect": "Ask about tokens of other clients that are for its own audiences.",
}
"""What our own routes under /v1 and /oauth ask for. Clients hold them for themselves; no user's token ever does."""

WORD: Final = re.compile(r"[!#-\[\]-~]{1,64}")
"""One scope (RFC 6749 §3.3), of a length that somebody can read."""


class Asked(NamedTuple):
    """What a client wants its access token to be; empty is all that it may have."""

    scope: str = ""
    resource: str = ""
    """The audience (RFC 8707)."""


ALL: Final = Asked()


class Grant(NamedTuple):
    """What an access token is for."""

    audience: str
    """Empty for that of the settings."""
    scope: str


def words(scope: str) -> frozenset[str]:
    """The scopes of a list separated by spaces."""
    return frozenset(scope.split())


def for_people(app: Client) -> str:
    """The scope of a new family: all of the client's but those of our own routes."""
    return " ".join(word for word in app.scopes.split() if word not in SERVICE)


@lru_cache(maxsize=1024)
def of_family(asked: Asked, held: str, app: Client, own: str) -> Grant | Verdict:
    """What a token of a family gets: of its scope what the client still has, and what was asked for.

    `own` is the audience of the settings, which is that of a client that names none.
    """
    allowed = app.audiences.split() or [own]
    if asked.resource and asked.resource not in allowed:
        return Verdict.TARGET
    has = words(app.scopes)
    scope = [word for word in held.split() if word in has]
    if asked.scope:
        wanted = words(asked.scope)
        if not wanted <= set(scope):
            return Verdict.SCOPE
        scope = [word for word in scope if word in wanted]
    return Grant(asked.resource or allowed[0], " ".join(scope))


def of_client(asked: Asked, app: Client, own: str) -> Grant | Verdict:
    """What a token gets that a client holds for itself: it is for our own routes, unless it names another audience."""
    audience = asked.resource or own
    if audience not in {own, *app.audiences.split()}:
        return Verdict.TARGET
    wanted = words(asked.scope or app.scopes)
    if not wanted <= words(app.scopes):
        return Verdict.SCOPE
    return Grant(audience, " ".join(word for word in app.scopes.split() if word in wanted))
