"""A client's policy as a form: which fields there are, and what was typed into them. Pure; judges nothing."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from core import client_assertion
from core.application import REACTIONS
from core.policy import Policy
from core.policy import of as policy_of
from events.client import OPTIONAL, Client, ClientRegistered, begin
from events.private import Account


class Number(NamedTuple):
    """A field for a whole number."""

    name: str
    label: str
    usual: int
    """What has no value of its own, and is shown as an empty field."""
    empty: str = "empty follows the settings"
    inherited: str = "as in the settings"
    """Said of the value that holds where there is none of its own."""
    follows: str = ""
    """That value."""


class Words(NamedTuple):
    """A field for a list, separated by spaces."""

    name: str
    label: str
    example: str


LISTS: Final = (
    Words("scopes", "Scopes", "introspect families:read"),
    Words("audiences", "Audiences", "https://api.example.com"),
    Words("origins", "Origins of its pages", "https://app.example.com"),
)
NUMBERS: Final = (
    Number("access_ttl", "Access token, seconds", 0),
    Number("idle_ttl", "Unused session, seconds", 0),
    Number("absolute_ttl", "Session at most, seconds", 0),
    Number("leeway", "Leeway for a retry, seconds", -1),
    Number("family_limit", "Sessions for each user", 0, "empty sets no limit of its own", "over all applications"),
)
CHOICES: Final = (
    ("on_device_change", "Another device"),
    ("on_network_change", "Another network"),
    ("on_country_change", "Another country"),
)
WORDS_FOR: Final = dict(zip(REACTIONS, ("Write it down", "Refuse, without ending it", "End the session"), strict=True))
BINDING: Final = {
    "optional": "Where the application proves a key",
    "required": "Always: without a key it gets none",
}
"""For `dpop`: which tokens are bound to a key."""
TICKS: Final = (
    ("keys_only", "Proves itself by its keys only: its secret no longer counts"),
    ("first_party", "Ours: people may give it their password"),
    ("operator", "Operator: reaches the sessions of all applications"),
)


class Form(NamedTuple):
    """All fields, for the templates."""

    numbers: tuple[Number, ...]
    lists: tuple[Words, ...] = LISTS
    choices: tuple[tuple[str, str], ...] = CHOICES
    words_for: Mapping[str, str] = WORDS_FOR
    binding: Mapping[str, str] = BINDING
    ticks: tuple[tuple[str, str], ...] = TICKS


def form(state: Client, defaults: Policy) -> Form:
    """The fields, each number with what holds where the client has none of its own."""

    def followed(number: Number) -> float:
        without = msgspec.structs.replace(state, **{number.name: number.usual})
        found: float = getattr(policy_of(without, defaults), number.name)
        return found

    return Form(tuple(one._replace(follows=f"{followed(one):.10g}") for one in NUMBERS))


class NotWhole(ValueError):
    """Something else than a whole number was typed; `field` says where."""

    def __init__(self, field: str) -> None:
        super().__init__("A whole number, or nothing.")
        self.field = field


def policy(typed: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, as the fields of a policy. Raises NotWhole."""
    found: dict[str, Any] = {one.name: " ".join(typed.get(one.name, "").split()) for one in LISTS}
    for number in NUMBERS:
        text = typed.get(number.name, "").strip()
        if text and not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
            raise NotWhole(number.name)
        found[number.name] = int(text) if text else number.usual
    found |= {name: typed.get(name, REACTIONS[0]) for name, _ in CHOICES}
    found |= {"dpop": typed.get("dpop") or OPTIONAL, "keys": client_assertion.stored(typed.get("keys", "").strip())}
    return found | {name: int(bool(typed.get(name))) for name, _ in TICKS}


def shown(state: Client) -> dict[str, str]:
    """A policy as its form shows it."""
    numbers = {one.name: _number(getattr(state, one.name), one.usual) for one in NUMBERS}
    plain = {name: getattr(state, name) for name in (*names(LISTS, CHOICES), *OTHERS)}
    return numbers | plain | {name: "1" if getattr(state, name) else "" for name, _ in TICKS}


def names(*parts: Iterable[tuple[Any, ...]]) -> list[str]:
    """Of these fields."""
    return [one[0] for part in parts for one in part]


OTHERS: Final = ("dpop", "keys")
FIELDS: Final = (*names(LISTS, NUMBERS, CHOICES, TICKS), *OTHERS)
BLANK: Final = begin(b"", 0, ClientRegistered(actor="system", client=""), Account())
"""A client that has nothing of its own."""
NEW: Final = dict.fromkeys(FIELDS, "") | {"first_party": "1", "on_device_change": REACTIONS[0]}


def _number(value: int, usual: int) -> str:
    return "" if value == usual else str(value)
