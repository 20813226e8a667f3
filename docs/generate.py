"""Writes docs/configuration.md, docs/events.md and docs/filters.md from the code. `make docs` runs it."""

import ast
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints
from unittest.mock import patch

import msgspec

from events.catalogue import NOUN_OF
from events.fact import Fact
from events.fields import EVENTS as EVENT_FIELDS
from events.fields import FAMILIES as FAMILY_FIELDS
from events.fields import Field
from events.filters import MAX_LENGTH, MAX_TERMS
from settings import PREFIX, SECRETS, Settings

HERE = Path(__file__).parent
NOTE = "<!-- Written by `make docs`; change the code instead. -->\n"

CONFIGURATION = f"""\
{NOTE}
# Configuration

Everything is set by environment variables. All times are seconds. Nothing has to be set to try the service; behind a
public name, set `LEDGER_PUBLIC_URL`, and keep the master key where the database's backup does not go.

A mistake ends the start with one sentence and exit status 2. So does a name with the prefix `LEDGER_` that is not
listed here. (Kubernetes adds such names for a service called `ledger`: set `enableServiceLinks: false`.)

Settings marked *secret* may be given as a file: `{{NAME}}_FILE` holds its path.

| setting | default | meaning |
|---|---|---|
"""

EVENTS = f"""\
{NOTE}
# Events

Every fact that the log can hold, by the stream it stands in. A body is compact JSON with sorted keys; a field that has
its default is left out. The code is the number in the log's header. Codes are never used again and fields never change
their meaning, so every log that was ever written can be read.

Times of the log are microseconds since the epoch; `exp` is in seconds, as in the token. Lists are one string, separated
by spaces.
"""


SHARED = {
    "subject": "Whose it is: `sub_…`, a random reference, never a name.",
    "client": "The application, by its `client_id`.",
    "generation": "Generation of the token that was presented.",
    "jti": "Id of the access token that was issued with it.",
    "exp": "Expiry of that access token, seconds since the epoch.",
    "idle_until": "The family ends then unless it is refreshed before.",
    "ends_at": "The family ends then at the latest.",
    "auth_time": "When the person proved who they are, seconds since the epoch.",
    "amr": "How, as RFC 8176 names it: `pwd`, `pwd otp`, `pwd hwk`, `hwk mfa`.",
    "scope": "What the access tokens may be used for.",
    "device_tag": "Keyed hash of browser family and system, comparable within this stream only.",
    "network_tag": "Keyed hash of the network (/24, /56), comparable within this stream only.",
    "country_tag": "Keyed hash of the country's code, comparable within this stream only; empty where it is not known.",
    "reason": "Why, as a code.",
    "key": "The `kid` of the signing key.",
    "failures": "Wrong passwords in a row, this one included.",
    "until": "Microseconds since the epoch.",
    "roles": "Separated by spaces.",
    "origin": "Name of the log in its checkpoints.",
    "access_ttl": "Seconds; 0 follows the settings.",
    "idle_ttl": "Seconds; 0 follows the settings.",
    "absolute_ttl": "Seconds; 0 follows the settings.",
    "on_device_change": "`observe`, `require_login` or `revoke`.",
    "on_network_change": "`observe`, `require_login` or `revoke`.",
    "on_country_change": "`observe`, `require_login` or `revoke`; without a database of countries it never applies.",
    "keep_sessions": "Whether families that began before were kept.",
    "algorithm": "`EdDSA`, `ES256`, `RS256` or `HS256`.",
    "ticket": "Number of the incident.",
    "factor": "Which one of the second factors: random, of this subject only.",
    "kind": "`totp` (one-time codes), `passkey` or `recovery`.",
    "format": "`csv`, `ndjson` or `json`.",
}
"""What fields mean wherever the fact says nothing else of them."""


FILTERS = f"""\
{NOTE}
# Filters

One language for the dashboard's search bars, `GET /v1/events?q=`, `session-ledger events --filter` and exports.

```
type:token.* -client:web user:alice,bob ip:203.0.113.0/24 at:7d
```

- Terms of different fields must all hold. Values of one field are alternatives: `user:alice user:bob` is
  `user:alice,bob`.
- `-` excludes. An event that has no such value is not excluded.
- `"a b"` is a value with spaces, commas or marks in it; `\\"` and `\\\\` stand for themselves there.
- `*` stands for anything, where a field takes it; patterns ignore case.
- Numbers and times take ranges: `>=10`, `>10`, `<=10`, `<10`, `10..20`, `10..*`, `*..20`. A range ends before its end.
- Times: `15m`, `2h`, `7d`, `2w` reach from then until now; `2026-11-20` is the day, `2026-11-20T09:30Z` the minute,
  both in UTC.
- Some values need no field: `fam_…`, `sub_…`, a jti, a request id, an address or network, and `#48213`, an event.
- At most {MAX_LENGTH} characters and {MAX_TERMS} terms. There is no search for text.

A mistake is answered with its position and, where one is near, with what may have been meant (422 over HTTP).
"""

SHORT_LISTS = {"op", "is", "has", "actor", "changed"}
"""Fields all of whose values fit into the table; those of `type` are in events.md."""
FILTERS_OF = (
    (
        EVENT_FIELDS,
        """
## Events

Newest first. A search goes along an index, so it needs one bound: a time, a position, or a field marked *Index* with
whole values or the patterns shown. Where there is none, `at:24h` is added, visibly. Counts stop at 1,000 (`1,000+`), a
query at two seconds.

| field | meaning | examples |
|---|---|---|
""",
    ),
    (
        FAMILY_FIELDS,
        """
## Families

The latest begun first; ended families stay. No bound is needed.

| field | meaning | examples |
|---|---|---|
""",
    ),
)


def main() -> None:
    for name, render in PAGES.items():
        (HERE / name).write_text(render(), "utf-8")


def configuration() -> str:
    """One row for each setting, in the order of `settings.py`."""
    with patch.dict(os.environ, clear=True):
        defaults = Settings()
    return CONFIGURATION + "".join(
        f"| `{PREFIX}{name.upper()}` | {_shown(getattr(defaults, name))} | {_meaning(name)} |\n"
        for name in Settings.model_fields
    )


def _shown(value: Any) -> str:
    match value:
        case None | () | "":
            return ""
        case bool():
            return "`on`" if value else "`off`"
        case tuple():
            return f"`{', '.join(map(str, value))}`"
        case _:
            return f"`{value}`"


def _meaning(name: str) -> str:
    field = Settings.model_fields[name]
    secret = " *Secret.*" if name in SECRETS else ""
    return f"{field.description}{_choices(field.annotation)}{_bounds(field.metadata)}{secret}"


def _choices(annotation: Any) -> str:
    values = [value for value in getattr(annotation, "__args__", ()) if isinstance(value, str)]
    return f" One of {', '.join(f'`{value}`' for value in values)}." if values else ""


def _bounds(metadata: list[Any]) -> str:
    least, most = (next((getattr(m, side) for m in metadata if hasattr(m, side)), None) for side in ("ge", "le"))
    if not least:
        return ""
    return f" At least {least}." if most is None else f" From {least} to {most}."


def events() -> str:
    """One section for each noun, one entry for each fact, in the order of the catalogue."""
    page = [EVENTS, "\n## Every fact\n\n", f"{_text(Fact)}\n"]
    noun = ""
    for fact, of in NOUN_OF.items():
        if of.name != noun:
            noun = of.name
            page.append(f"\n## Of {'an' if noun[0] in 'aeiou' else 'a'} {noun}\n")
        page.append(f"\n### `{fact.TYPE}`\n\nCode {fact.CODE}. {_text(fact)}\n{_own_fields(fact)}")
    return "".join(page)


def _text(fact: type[Fact]) -> str:
    return " ".join((fact.__doc__ or "").split())


def _own_fields(fact: type[Fact]) -> str:
    return f"\n{_table(fact)}" if set(fact.__struct_fields__) - set(Fact.__struct_fields__) else ""


def _table(fact: type[Fact]) -> str:
    hints = get_type_hints(fact)
    documented = SHARED | dict(_docstrings(fact))
    rows = [
        f"| `{field.name}` | {hints[field.name].__name__} | {_default(field)} | {documented[field.name]} |\n"
        for field in msgspec.structs.fields(fact)
        if field.name not in Fact.__struct_fields__
    ]
    return "".join(["| field | type | default | meaning |\n", "|---|---|---|---|\n", *rows])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    return "empty" if field.default == "" else f"`{field.default}`"


def _docstrings(fact: type[Fact]) -> Iterator[tuple[str, str]]:
    """The string below each field, in the class and in the facts that it inherits from."""
    for owner in reversed(fact.__mro__):
        if issubclass(owner, Fact):
            lines = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
            yield from _below_fields(lines)


def _below_fields(owner: ast.stmt) -> Iterator[tuple[str, str]]:
    body = owner.body if isinstance(owner, ast.ClassDef) else []
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


def filters() -> str:
    """The language, and one row for each field of the registry."""
    tables = (f"{title}{''.join(map(_filter, fields.fields))}" for fields, title in FILTERS_OF)
    return FILTERS + "".join(tables)


def _filter(field: Field) -> str:
    names = ", ".join(f"`{name}:`" for name in (field.key, *field.aliases))
    values = f" One of {', '.join(f'`{value}`' for value in field.values)}." if field.key in SHORT_LISTS else ""
    examples = " ".join(f"`{field.key}:{example}`" for example in field.examples)
    bound = " *Index.*" if field.indexed else ""
    return f"| {names} | {field.meaning}.{values}{bound} | {examples} |\n"


PAGES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "events.md": events, "filters.md": filters}

if __name__ == "__main__":
    main()
