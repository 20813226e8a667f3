"""Who may do what at the dashboard: one line for each route of the router, asked as everybody who could ask."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath

import app
from tests.browsers import BROWSER
from tests.conftest import PASSWORD, MakeSettings, running
from tests.desk_forms import POLICY, Case, Form, application, confirmed, made, nothing, scanned, ticked, typed
from tests.desks import NO_ROLE, NOBODY, NOWHERE, STALE, Office
from tests.edges import app_of
from tests.visitors import PAGE

SECURITY: Final = Path(__file__).parent.parent / "docs" / "security.md"
SECTION: Final = "### Who may do what at the dashboard"

EVERYBODY, SIGNED_IN, VIEWER, RESPONDER, ADMIN = "everybody", "signed in", "viewer", "responder", "admin"
"""Whom a route lets through, each with all that come behind."""
RANKS: Final = {NOBODY: 0, NO_ROLE: 1, VIEWER: 2, RESPONDER: 3, ADMIN: 4, STALE: 4}
"""Who asks, and how far each of them comes."""
FRESH: Final = ", fresh"
"""Stands behind whom where the sign-in must be of the last ten minutes."""
EARLY: Final = ", early"
"""Stands behind whom where it is open to those who have yet to add the second factor that their role asks for."""
MANY: Final = ", more than 25"
"""Stands behind a route that asks for more where that many families end at once."""
REFUSALS: Final = (
    ("role", "Your role does not allow this"),
    ("role", "in one action take an admin"),
    ("form", "This form was not sent from the page it belongs to"),
)
"""Why something is refused, by what the page says."""
JSON: Final = {"Accept": "application/json"}
ELSEWHERE: Final = {"Origin": "https://elsewhere.test", "Sec-Fetch-Site": "cross-site"}
"""What a browser says of a request from another site."""


class Line(NamedTuple):
    """Whom a route lets through, what they are answered, which event that leaves in the log, what is posted."""

    whom: str
    answer: str = "200"
    event: str = ""
    form: Form = nothing

    @property
    def is_early(self) -> bool:
        """Whether somebody reaches it who has yet to add a second factor."""
        return self.whom == EVERYBODY or self.whom.endswith(EARLY)

    def lets(self, asking: str) -> bool:
        """By role."""
        whom = self.whom.removesuffix(EARLY).removesuffix(FRESH)
        return RANKS[asking] >= {EVERYBODY: 0, SIGNED_IN: 1, VIEWER: 2, RESPONDER: 3, ADMIN: 4}[whom]

    def expected(self, asking: str) -> str:
        if self.lets(asking):
            return "303 /dashboard/re-authenticate" if asking == STALE and FRESH in self.whom else self.answer
        return "303 /dashboard/sign-in?why=needed" if asking == NOBODY else "403 role"


NEW_PASSWORD: Final = "copper-meadow-17-heron-violin"
READ: Final = Line(VIEWER)
PREVIEW: Final = "dashboard.previewed"
RECEIPT: Final = "303 /dashboard/actions/act_…"

MATRIX: Final = {
    # signing in and out
    "GET /dashboard/static/{name}": Line(EVERYBODY),
    "GET /dashboard/sign-in": Line(EVERYBODY),
    "POST /dashboard/sign-in": Line(
        EVERYBODY, "303 /dashboard", "token.issued", typed(name="admin", password=PASSWORD)
    ),
    # without the cookie that a right password or a challenge leaves, the second step leads back to the first
    "GET /dashboard/sign-in/second": Line(EVERYBODY, "303 /dashboard/sign-in?why=again"),
    "POST /dashboard/sign-in/second": Line(EVERYBODY, "303 /dashboard/sign-in?why=again", form=typed(code="123456")),
    "POST /dashboard/sign-in/passkey": Line(EVERYBODY, "303 /dashboard/sign-in?why=again", form=typed(credential="{}")),
    "POST /dashboard/sign-in/challenge": Line(EVERYBODY),
    "POST /dashboard/sign-out": Line(SIGNED_IN + EARLY, "303 /dashboard/sign-in?why=signed-out", "family.revoked"),
    # my sign-in
    "GET /dashboard/re-authenticate": Line(VIEWER + EARLY),
    "POST /dashboard/re-authenticate": Line(VIEWER + EARLY, "303 /dashboard", "token.issued", typed(password=PASSWORD)),
    "GET /dashboard/me": Line(VIEWER + EARLY),
    "GET /dashboard/me/totp": Line(VIEWER + FRESH + EARLY),
    "POST /dashboard/me/totp": Line(VIEWER + FRESH + EARLY, "200", "subject.factor_added", scanned),
    "GET /dashboard/me/passkey": Line(VIEWER + FRESH + EARLY),
    "POST /dashboard/me/passkey": Line(VIEWER + FRESH + EARLY, "200", "subject.factor_added", made),
    "POST /dashboard/me/codes": Line(VIEWER + FRESH + EARLY, "200", "subject.recovery_codes_made"),
    "POST /dashboard/me/factors/{named}/remove": Line(
        VIEWER + FRESH + EARLY, "303 /dashboard/me?done=removed", "subject.factor_removed"
    ),
    "GET /dashboard/me/password": Line(VIEWER + FRESH),
    "POST /dashboard/me/password": Line(
        VIEWER + FRESH,
        "303 /dashboard/me?done=password",
        "subject.password_changed",
        typed(new=NEW_PASSWORD, again=NEW_PASSWORD),
    ),
    # reading
    "GET /dashboard": READ,
    "GET /dashboard/events": READ,
    "GET /dashboard/events/{position}": READ,
    "GET /dashboard/events/facets": Line(VIEWER, "303 /dashboard/events?facets=1"),
    "GET /dashboard/events/head": READ,
    "GET /dashboard/events/stream": READ,
    "GET /dashboard/families": READ,
    "GET /dashboard/families/{family_id}": READ,
    "GET /dashboard/subjects/{subject_id}": READ,
    "GET /dashboard/network/{address}": READ,
    "GET /dashboard/network/{address}/{prefix}": READ,
    "GET /dashboard/actions": READ,
    "GET /dashboard/actions/{action_id}": READ,
    "GET /dashboard/clients": READ,
    "GET /dashboard/clients/{name}": READ,
    "GET /dashboard/webhooks": READ,
    "GET /dashboard/webhooks/{name}": READ,
    "GET /dashboard/keys": READ,
    "GET /dashboard/system": READ,
    "GET /dashboard/access": READ,
    "GET /dashboard/help/filters": READ,
    "GET /dashboard/lookup": READ,
    "POST /dashboard/lookup": Line(VIEWER, "303 /dashboard/events/1", "dashboard.looked_up", typed(thing="#1")),
    # an incident
    "POST /dashboard/events/export": Line(RESPONDER, "200", "dashboard.exported", typed(q="", format="csv")),
    "GET /dashboard/families/{family_id}/kill": Line(RESPONDER, "200", PREVIEW),
    "POST /dashboard/families/{family_id}/kill": Line(RESPONDER, RECEIPT, "family.revoked", confirmed),
    "POST /dashboard/families/{family_id}/kill" + MANY: Line(ADMIN + FRESH, RECEIPT, "family.revoked", confirmed),
    "POST /dashboard/kills/new": Line(RESPONDER, "303 /dashboard/kills/act_…", "action.planned", ticked),
    "GET /dashboard/kills/{action_id}": Line(RESPONDER),
    "POST /dashboard/kills/{action_id}": Line(RESPONDER, RECEIPT, "family.revoked", confirmed),
    "POST /dashboard/kills/{action_id}" + MANY: Line(ADMIN + FRESH, RECEIPT, "family.revoked", confirmed),
    "POST /dashboard/system/verify": Line(RESPONDER, "303 /dashboard/system#verification"),
    "POST /dashboard/webhooks/{name}/ping": Line(
        RESPONDER, "303 /dashboard/webhooks/whk_…?done=pinged", "webhook.pinged"
    ),
    # there is no dead letter, so who may replay is told that
    "POST /dashboard/webhooks/{name}/replay": Line(
        RESPONDER, "303 /dashboard/webhooks/whk_…?done=same", form=typed(position="all")
    ),
    # people
    "GET /dashboard/subjects/{subject_id}/switch": Line(ADMIN, "200", PREVIEW),
    "POST /dashboard/subjects/{subject_id}/switch": Line(ADMIN + FRESH, RECEIPT, "subject.disabled", confirmed),
    "GET /dashboard/subjects/{subject_id}/erase": Line(ADMIN, "200", PREVIEW),
    "POST /dashboard/subjects/{subject_id}/erase": Line(ADMIN + FRESH, RECEIPT, "subject.erased", confirmed),
    "GET /dashboard/subjects/{subject_id}/factors": Line(ADMIN, "200", PREVIEW),
    "POST /dashboard/subjects/{subject_id}/factors": Line(
        ADMIN + FRESH, "303 /dashboard/subjects/sub_…", "subject.factor_removed", confirmed
    ),
    "POST /dashboard/access/{public_id}": Line(
        ADMIN + FRESH, "303 /dashboard/access?done=roles", "subject.roles_changed", typed(role="responder")
    ),
    # keys
    # the next key was published a moment ago, so who may rotate is told to wait
    "POST /dashboard/keys/rotate": Line(ADMIN + FRESH, "303 /dashboard/keys?done=early"),
    "GET /dashboard/keys/{kid}/revoke": Line(ADMIN + FRESH, "200", PREVIEW),
    "POST /dashboard/keys/{kid}/revoke": Line(ADMIN + FRESH, RECEIPT, "key.revoked", confirmed),
    "GET /dashboard/keys/master/{number}/revoke": Line(ADMIN + FRESH, "200", PREVIEW),
    "POST /dashboard/keys/master/{number}/revoke": Line(ADMIN + FRESH, RECEIPT, "master_key.revoked", confirmed),
    # applications and webhooks
    "POST /dashboard/clients": Line(ADMIN + FRESH, "303 /dashboard/clients/made", "client.registered", application),
    "POST /dashboard/clients/{name}/policy": Line(
        ADMIN + FRESH, "303 /dashboard/clients/client?done=changed", "client.updated", typed(**POLICY, access_ttl="60")
    ),
    "POST /dashboard/clients/{name}/secret": Line(ADMIN + FRESH, "200", "client.secret_rotated", typed(keep="3600")),
    "GET /dashboard/clients/{name}/switch": Line(ADMIN),
    "POST /dashboard/clients/{name}/switch": Line(
        ADMIN + FRESH, "303 /dashboard/clients/client?done=disabled", "client.disabled", confirmed
    ),
    "POST /dashboard/webhooks": Line(ADMIN + FRESH, "200", "webhook.registered", typed(url=NOWHERE, format="standard")),
    "POST /dashboard/webhooks/{name}/secret": Line(ADMIN + FRESH, "200", "webhook.secret_rotated", typed(keep="3600")),
    "POST /dashboard/webhooks/{name}/switch": Line(
        ADMIN + FRESH, "303 /dashboard/webhooks/whk_…?done=disabled", "webhook.disabled", confirmed
    ),
}
OWN: Final = {
    "POST /dashboard/sign-in",
    "POST /dashboard/sign-out",
    "POST /dashboard/re-authenticate",
    "POST /dashboard/me/totp",
    "POST /dashboard/me/passkey",
    "POST /dashboard/me/password",
    "POST /dashboard/me/factors/{named}/remove",
}
"""What changes whoever is let through: somebody else asks next."""


def routes(litestar: Litestar) -> set[str]:
    """Every method and path of the dashboard that somebody wrote."""
    found = set()
    for route in litestar.routes:
        path = route.path_format.rstrip("/")
        for handler in getattr(route, "route_handlers", []):
            if path.startswith("/dashboard"):
                given = not handler.fn.__module__.startswith("litestar.")  # it answers OPTIONS by itself
                found |= {f"{method} {path}" for method in handler.http_methods if given}
    return found


def told(answer: httpx.Response) -> str:
    """Status and way of an answer, without what differs each time; and whether it is the role that is missing."""
    if answer.status_code == 403:
        return next((f"403 {why}" for why, words in REFUSALS if words in answer.text), "403")
    place = answer.headers.get("location", "").partition("&")[0].partition("?next=")[0]
    place = re.sub(r"(act|sub|whk)_[A-Za-z0-9]+", r"\1_…", place)
    place = re.sub(r"/clients/(made|client)-[a-z0-9]+", r"/clients/\1", place)
    return f"{answer.status_code} {place}".rstrip()


class Asked(NamedTuple):
    """What came of one request."""

    answer: httpx.Response
    events: list[str]


async def ask(
    office: Office, route: str, asking: str, headers: Mapping[str, str] = BROWSER | PAGE, **more: str
) -> Asked:
    """Send it as that person, with a form that would do where it is one."""
    method, _, path = route.removesuffix(MANY).partition(" ")
    person = await office.person(asking, route)
    thing = await office.thing(route)
    place = path.replace("{named}", person.factor or "none").replace("{position}", "1")
    place = place.replace("{address}", "203.0.113.7").replace("{prefix}", "24")
    place = re.sub(r"\{[a-z_]+\}", thing.id, place)
    form = await MATRIX[route].form(Case(office, person, thing)) | {"csrf": office.csrf(person)} | more
    before = (await office.service.history.head()).size
    answer = await person.browser.http.request(method, place, data=form if method == "POST" else None, headers=headers)
    await office.carried_out(answer)
    events = [one.fact.TYPE for one in await office.service.history.after(before - 1, 1_000)]
    return Asked(answer, events)


@asynccontextmanager
async def open_office(make_settings: MakeSettings, **changes: object) -> AsyncIterator[Office]:
    own = {"webhook_http": True, "webhook_networks": "127.0.0.0/8", "rate_limits": False}
    async with running(make_settings(**own | changes)) as service, AsyncExitStack() as stack:
        service.stopping.set()  # ends what would go on for twenty seconds
        yield Office(service, stack)


def test_every_route_of_the_dashboard_has_its_line(service: app.Service, sqlite_store: object) -> None:
    inner = app_of(service).app
    assert isinstance(inner, Litestar)

    assert {route.removesuffix(MANY) for route in MATRIX} == routes(inner)


def test_a_page_that_somebody_adds_has_no_line() -> None:
    @get("/dashboard/another/{name:str}")
    async def another(name: FromPath[str]) -> str:
        return name

    assert {"GET /dashboard/another/{name}"} == routes(Litestar([another], openapi_config=None)) - MATRIX.keys()


@pytest.mark.usefixtures("on_sqlite")  # who may is asked before any database is
async def test_everybody_at_the_dashboard_is_answered_as_the_matrix_says(make_settings: MakeSettings) -> None:
    wrong = []
    async with open_office(make_settings) as office:
        await office.grow_old()
        for route, line in MATRIX.items():
            for asking in RANKS:
                answer, events = await ask(office, route, asking)
                expected = line.expected(asking)
                through = expected == line.answer
                wrote = line.event if line.event in events else " ".join(events)
                if (expected, line.event if through else "") != (told(answer), wrote):
                    wrong.append(f"{route} as {asking}: {told(answer)} {wrote}, not {expected}")
                if through and route.startswith("POST"):
                    office.used_up(route, asking, person=route in OWN)

    assert [] == wrong


@pytest.mark.usefixtures("on_sqlite")
async def test_before_the_second_factor_that_a_role_asks_for_only_the_way_to_it_is_open(
    make_settings: MakeSettings,
) -> None:
    shut, early, written = set(), {route for route, line in MATRIX.items() if line.is_early}, []
    async with open_office(make_settings, second_factor_roles=(ADMIN,)) as office:
        for route in MATRIX:
            answer, events = await ask(office, route, ADMIN, JSON | PAGE)
            if answer.status_code == 403 and answer.json()["code"] == "second_factor_needed":
                shut.add(route)
                written += events
            elif route in OWN:
                office.used_up(route, ADMIN, person=True)

    assert MATRIX.keys() - early == shut
    assert [] == written


@pytest.mark.usefixtures("on_sqlite")
async def test_no_form_is_taken_that_another_site_sent_or_that_lacks_its_token(make_settings: MakeSettings) -> None:
    posts = {route: line for route, line in MATRIX.items() if route.startswith("POST")}
    taken = []
    async with open_office(make_settings) as office:
        for route, line in posts.items():
            foreign = await ask(office, route, ADMIN, BROWSER | ELSEWHERE)
            forged = await ask(office, route, ADMIN, csrf="x" * 43)
            refused = [foreign] if line.whom == EVERYBODY else [foreign, forged]  # nobody there has a token yet
            taken += [route for one in refused if (told(one.answer), one.events) != ("403 form", [])]
            if line.whom == EVERYBODY and route in OWN:
                office.used_up(route, ADMIN, person=True)

    assert [] == taken


def documented() -> dict[str, str]:
    """The table of the page, route by route, in the words of the matrix."""
    page = SECURITY.read_text("utf-8").partition(SECTION)[2].partition("\n#")[0]
    found = {}
    for row in re.findall(r"(?m)^\| (?!what )(.+)\|$", page):
        _, routes_, role, fresh, early = (cell.strip() for cell in row.split("|"))
        whom = role + (FRESH if fresh == "yes" else "") + (EARLY if early == "yes" else "")
        for method, path, many in re.findall(r"`(GET|POST) (/[^`]*)`(, more than 25)?", routes_):
            found[f"{method} /dashboard{path.rstrip('/')}{many}"] = whom
    return found


def test_the_page_on_security_says_who_may_do_what_as_the_matrix_does() -> None:
    assert {route: line.whom for route, line in MATRIX.items()} == documented()
