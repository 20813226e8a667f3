"""Everybody who can ask at the dashboard, and what they ask about: for tests of who may do what there."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

import httpx

import app
from core.action import Confirmed, Kill, Selection
from core.issued import Issued
from core.presence import Presence
from core.steps import Session
from core.visit import SignIn, Visit
from core.webhook import Plan
from dashboard.pages import STATIC
from events import heads, ids
from events.decision import Origin
from events.key import REVOKED
from events.webhook import PREFIX, STANDARD
from tests.applications import application
from tests.browsers import BROWSER, Browser, a_family
from tests.conftest import PASSWORD, visiting
from tests.staff import add_app
from tests.visitors import let_pass

NOBODY, NO_ROLE, STALE = "nobody", "no role", "admin, signed in long ago"
LONG_AGO: Final = 11 * 60
"""Seconds; a sign-in is fresh for ten minutes."""
CROWD: Final = 26
"""Families, one more than a responder ends in one action."""
NOWHERE: Final = "http://127.0.0.1:9/hooks"
"""Where nobody listens."""

WITH_APP: Final = {"POST /dashboard/me/codes", "POST /dashboard/me/factors/{named}/remove"}
"""What only those ask for in earnest who have a second factor."""


class Person(NamedTuple):
    """Somebody at the dashboard, with what they typed to get in. Nobody has no name."""

    browser: Browser
    name: str = ""
    subject: str = ""
    factor: str = ""
    """An app for one-time codes."""


class Thing(NamedTuple):
    """What a route is about: as its address names it, and what else a form says of it."""

    id: str
    name: str = ""
    families: tuple[str, ...] = ()


class Office:
    """A service with all that its dashboard shows. Makes people and things when they are asked for."""

    def __init__(self, service: app.Service, stack: AsyncExitStack) -> None:
        self.service, self._stack = service, stack
        self._people: dict[tuple[str, bool], list[Person]] = {}
        self._things: dict[str, Thing] = {}
        self._made = self._ahead = 0

    async def grow_old(self) -> None:
        """Some sign in, then time passes; nobody else can have signed in long ago."""
        apps = (False, False, False, False, True)  # signing in, signing out and confirming use one up each
        old = [(app_, await self._person("admin", app_=app_)) for app_ in apps]
        self._ahead = LONG_AGO
        let_pass(self.service, LONG_AGO)
        for app_, person in old:
            await person.browser.opens("/dashboard")  # a new cookie now: nothing else rotates it later
            self._people.setdefault((STALE, app_), []).append(person)

    def time(self) -> float:
        """What the clocks of the service say."""
        return time.time() + self._ahead

    # People

    async def person(self, asking: str, route: str) -> Person:
        """The one who asks as this, until the session is used up."""
        app_ = route in WITH_APP and self._may_have_app(asking)
        held = self._people.setdefault((asking, app_), [])
        if not held:
            assert asking != STALE, f"{route} used one more up"
            held.append(await self._person(asking, app_=app_))
        return held[-1]

    def _may_have_app(self, asking: str) -> bool:
        """Nobody and who has no role reach no page to add one; nor is it asked for where a role demands it first."""
        return asking not in {NOBODY, NO_ROLE} and not self.service.enrolling.required

    async def session(self, person: Person) -> Session:
        """As the use cases take it."""
        token = self.service.families.read_token(person.browser.cookie)
        assert token is not None
        held = await self.service.family_reader.get(token.family)
        assert held is not None
        assert held.subject is not None
        return Session(held.subject, held.family, token)

    def csrf(self, person: Person) -> str:
        """What a page of theirs would carry."""
        token = self.service.families.read_token(person.browser.cookie) if person.name else None
        return self.service.families.issuer.csrf_token(token.family) if token else "x" * 43

    async def _person(self, asking: str, *, app_: bool = False) -> Person:
        browser = Browser(await self._stack.enter_async_context(visiting(self.service)))
        if asking == NOBODY:
            return Person(browser)
        name = self._name("staff")
        role = "viewer" if asking == NO_ROLE else asking
        await self.service.subjects.register(name, PASSWORD, role, "cli")
        await browser.signs_in(name)
        factor = await self._app(browser) if app_ else ""
        owner = await self.service.subjects.find(name)
        assert owner is not None
        if asking == NO_ROLE:
            await self.service.subjects.change_roles(owner, "", "cli")
        return Person(browser, name, ids.to_text("sub", owner.id), factor)

    async def _app(self, browser: Browser) -> str:
        await add_app(browser, self.time())
        told = (await browser.opens("/dashboard/me?format=json")).json()
        factor: str = told["factors"][0]["factor"]
        return factor

    # Things

    async def thing(self, route: str) -> Thing:
        """What a route is about, until somebody was let through to change it."""
        if route not in self._things:
            make = next((one for pattern, one in MAKERS.items() if re.search(pattern, route)), None)
            self._things[route] = await make(self) if make else Thing("")
        return self._things[route]

    def used_up(self, route: str, asking: str, *, person: bool) -> None:
        """The next request is about something else, and of somebody else where it changed `person`."""
        del self._things[route]
        if person:
            self._people[asking, route in WITH_APP and self._may_have_app(asking)].pop()

    async def carried_out(self, answer: httpx.Response) -> None:
        """Wait for what goes on behind an answer that leads to a receipt."""
        action = ids.from_text("act", answer.headers.get("location", "").rpartition("/")[2])
        if action is not None:
            await self.service.actions.carried_out(action, 10.0)

    def new_action(self) -> str:
        """The id that a preview would give to what it leads to."""
        return ids.to_text("act", self.service.actions.new_id())

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"

    async def user(self) -> Thing:
        name = self._name("user")
        await self.service.subjects.register(name, PASSWORD, "", "cli")
        owner = await self.service.subjects.find(name)
        assert owner is not None
        return Thing(ids.to_text("sub", owner.id), name)

    async def member(self) -> Thing:
        """Of staff, with a second factor."""
        person = await self._person("viewer", app_=True)
        return Thing(person.subject, person.name)

    async def family(self) -> Thing:
        return Thing((await a_family(self.service))["family_id"])

    async def crowd(self) -> Thing:
        """A family of somebody who has many."""
        name = (await self.user()).name
        visit = Visit(Presence("203.0.113.7", "test"), "AAAAAAAAAAAAAAAA", 0.0)
        signing_in = (SignIn(name, PASSWORD, "web", "body") for _ in range(CROWD))
        begun = await asyncio.gather(*(self.service.families.sign_in(one, visit) for one in signing_in))
        named = tuple(ids.to_text("fam", one.family.id) for one in begun if isinstance(one, Issued))
        return Thing(named[0], name, named)

    async def selection(self) -> Thing:
        return await self._frozen(await self.family())

    async def large_selection(self) -> Thing:
        return await self._frozen(await self.crowd())

    async def _frozen(self, of: Thing) -> Thing:
        plan, families = self.service.actions.new_id(), of.families or (of.id,)
        found = tuple(ids.parse("fam", one) for one in families)
        await self.service.actions.plan(Selection(plan, "cli", "", 1, found), Origin())
        return Thing(ids.to_text("act", plan))

    async def action(self) -> Thing:
        """One that ended a family."""
        family = ids.parse("fam", (await self.family()).id)
        held, stream = await self.service.family_reader.get(family), self.service.actions.new_id()
        assert held is not None
        confirmed = Confirmed(stream, "cli", "stolen_token", "", "", 1)
        await self.service.actions.kill(Kill(confirmed, held.family.subject, (family,), everything=False), Origin())
        return Thing(ids.to_text("act", stream))

    async def signing_key(self) -> Thing:
        return Thing(next(one.key for one in self.service.keys.states if one.status != REVOKED))

    async def master_key(self) -> Thing:
        """One that was in use once."""
        self._made += 1
        number = 100 + self._made % 100
        known = {number: "0" * 16}
        await asyncio.to_thread(self.service.store.transact, lambda connection: heads.add_key_checks(connection, known))
        return Thing(str(number))

    async def client(self) -> Thing:
        return Thing((await application(self.service, self._name("client"))).name)

    async def webhook(self) -> Thing:
        plan = Plan(STANDARD, url=NOWHERE, query="type:ledger.recovered")  # it is told of nothing here
        made = await self.service.webhooks.register("", "cli", plan)
        return Thing(ids.to_text(PREFIX, made.webhook))

    async def asset(self) -> Thing:
        """The first file that the sign-in page asks for."""
        async with visiting(self.service) as http:
            page = (await http.get("/dashboard/sign-in", headers=BROWSER)).text
        return Thing(page.partition(f"{STATIC}/")[2].partition('"')[0])


Maker = Callable[[Office], Awaitable[Thing]]
MAKERS: Final[dict[str, Maker]] = {
    r"/static/{name}": Office.asset,
    r"/clients/{name}": Office.client,
    r"/webhooks/{name}": Office.webhook,
    r"/families/{family_id}/kill, ": Office.crowd,
    r"/families/{family_id}|/kills/new": Office.family,
    r"/kills/{action_id}, ": Office.large_selection,
    r"/kills/{action_id}": Office.selection,
    r"/actions/{action_id}": Office.action,
    r"/subjects/{subject_id}/factors": Office.member,
    r"/subjects/{subject_id}|/access/{public_id}": Office.user,
    r"/keys/{kid}": Office.signing_key,
    r"/keys/master/{number}": Office.master_key,
}
"""Of what stands in a route, how one is made; the first that fits."""
