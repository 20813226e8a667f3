"""The filter reference, made from the registry that the parser reads: what is not there does not exist."""

from typing import Any, Final

from litestar import Request, Response, get

from dashboard import answers, searching
from dashboard.door import VIEWER, Given, GivenStaff
from dashboard.gate import wants
from events.fields import EVENTS, FAMILIES, Field, FieldSet

GRAMMAR: Final = (
    ("user:alice type:token.*", "terms of different fields must all hold"),
    ("user:alice,bob", "of several values one is enough; so it is where a field stands twice"),
    ("-client:ci", "a minus excludes; what has no such value stays"),
    ('client:"our app"', "quotation marks around spaces, commas, stars and dots that are meant literally"),
    ("client:mobile*", "a star stands for anything"),
    ("at:24h", "since so long ago: s, m, h, d, w"),
    ("at:2026-11-20", "a day, a minute or a second, in UTC"),
    ("at:2026-11-20..2026-11-22", "from the first, up to but not the second; a star leaves one side open"),
    ("position:>=48213", "also >, < and <="),
    ("203.0.113.0/24", "addresses, networks, ids and #positions need no field"),
)


@get("/help/filters", opt=wants(VIEWER))
async def filters(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Every field with examples that can be clicked."""
    if answers.wants_json(request):
        written = [{"example": example, "meaning": meaning} for example, meaning in GRAMMAR]
        return answers.json({"grammar": written, "events": _as_json(EVENTS), "families": _as_json(FAMILIES)})
    page = door.pages.render("filters.html", staff=staff, grammar=GRAMMAR, sets=(EVENTS, FAMILIES), link=searching.link)
    return answers.html(page)


def _as_json(fields: FieldSet) -> list[dict[str, object]]:
    return [_field(field) for field in fields.fields]


def _field(field: Field) -> dict[str, object]:
    return {
        "key": field.key,
        "aliases": list(field.aliases),
        "meaning": field.meaning,
        "values": list(field.values),
        "examples": [f"{field.key}:{example}" for example in field.examples],
        "bounds_a_search": field.indexed,
    }
