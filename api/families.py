"""Families for trusted backends: begin one for a user whom the backend authenticated, look, end. Shapes only."""

import ipaddress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from api import answers
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.description import taking
from api.door import Door, Given
from api.problems import documented
from api.visits import visit
from core import repeat
from core.assertion import Outcome
from core.backends import CLOCKS_DIFFER, Wanted
from core.grants import Backend
from core.issued import Issued
from core.jwk import THUMBPRINT
from core.policy import DASHBOARD
from core.presence import Presence, clean_agent
from core.problem import Problem, invalid
from core.reason import STAFF_REASONS
from core.subject import Outcome as AccountOutcome
from edge import note
from events import family, ids, subject
from events.budget import TooSlow
from events.families import Held
from events.family_search import FamilyPage
from events.fields import FAMILIES
from events.filters import Mistake, parse

NOT_FOUND = Problem(404, "family_not_found", "You have no session of this id.")
NO_SUBJECT = Problem(404, "subject_not_found", "You have no user of this id.")
ERASED = Problem(409, "subject_erased", "This user was erased, and does not come back.")
STAFF = Problem(403, "staff_subject", "Users with a role in the dashboard are managed by people only.")
REFUSALS: Final = {
    Outcome.UNKNOWN: NO_SUBJECT,
    Outcome.STAFF: STAFF,
    Outcome.DISABLED: Problem(409, "subject_disabled", "This user is disabled."),
    Outcome.ERASED: ERASED,
    Outcome.CLIENT: Problem(404, "client_not_found", "You reach no client of this id that is enabled."),
    Outcome.KEY: invalid("Sessions of this client are bound to a key: say `dpop_jkt`."),
    Outcome.NOT_REPLACED: Problem(404, "family_not_found", "`replaces` is no session of this user and client."),
    Outcome.ENDED: Problem(409, "family_ended", "That session has ended; the user has to sign in."),
    Outcome.USED: Problem(409, "family_used", "The first tokens of the session that this key began were used already."),
    Outcome.OTHER: Problem(422, "idempotency_key_reused", "This Idempotency-Key belongs to another request."),
}
BAD_KEY = invalid("`Idempotency-Key` is one header of 1 to 255 printable characters without a space.")
TOO_SLOW = Problem(503, "too_slow", "This search was stopped because it took too long. Name a subject.")
MOST: Final = 200

Method = Literal[
    "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc", "sms",
    "swk", "tel", "user", "vbm", "wia",
]  # fmt: skip
"""How somebody proved who they are, by the names of RFC 8176."""
Reason = Literal["logout", "stolen_token", "suspicious", "lost_device", "user_request", "left", "maintenance"]
assert {"logout", *STAFF_REASONS} == set(Reason.__args__)  # type: ignore[attr-defined]  # noqa: S101
Ticket = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,32}$")]


class UserContext(msgspec.Struct, forbid_unknown_fields=True):
    """Where the user sits, as the backend sees it: goes into the log, beside it and deletable."""

    ip: str = ""
    user_agent: str = ""


class NewFamily(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A session for a user whom you authenticated."""

    subject: str
    auth_time: datetime | None = None
    """When that was; now, unless said. With an offset from UTC."""
    amr: Annotated[list[Method], msgspec.Meta(max_length=8)] = []
    """How that was, as RFC 8176 names it."""
    acr: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,99}$")] | None = None
    """How much it is worth, as you name your levels: a word or an URI."""
    context: UserContext = msgspec.field(default_factory=UserContext)
    device: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """What the user calls the device."""
    client_id: str | None = None
    """Yours, unless you are an operator and say otherwise."""
    replaces: str | None = None
    """A session of this user that ends with this beginning: for a step-up."""
    dpop_jkt: Annotated[str, msgspec.Meta(pattern=f"^{THUMBPRINT.pattern}$")] | None = None
    """Thumbprint (RFC 7638) of the key that the session is bound to: who refreshes it has to prove that key."""


class Ending(msgspec.Struct, forbid_unknown_fields=True):
    """Why it ends, and the number of an incident."""

    reason: Reason = "logout"
    ticket: Ticket = ""


class BegunFamily(msgspec.Struct):
    """Tokens of the session. `expires_in` is in seconds, 0 where a repeated request came after it."""

    access_token: str
    refresh_token: str
    expires_in: int
    family_id: str
    token_type: str = "Bearer"  # noqa: S105 - the scheme, no secret
    scope: str = ""

    def __repr__(self) -> str:
        return f"BegunFamily(family_id={self.family_id!r})"


class FamilyShown(msgspec.Struct, kw_only=True):
    """A session as it is now."""

    family_id: str
    subject: str
    client_id: str
    status: Literal["living", "revoked", "expired"]
    started_at: datetime
    last_used_at: datetime
    ends_at: datetime
    """Unless it is used before, or ended."""
    auth_time: datetime
    amr: list[str]
    acr: str | None
    scope: str
    device: str
    dpop_jkt: str | None
    """Thumbprint of the key that it is bound to."""
    ended_at: datetime | None
    ended_by: str | None
    ended_reason: str | None


class Families(msgspec.Struct):
    """Sessions, the latest begun first."""

    families: list[FamilyShown]
    before: str | None
    """Leads to older ones."""


@post(
    "/",
    guards=[require_scope("families:write")],
    responses=documented(400, 401, 403, 404, 409, 422, 503),
    operation_class=taking(headers={"Idempotency-Key": "A repeated call with the same one is told the same."}),
)
async def begin(
    request: Request[Any, Any, Any], data: JSONBody[NewFamily], door: Given, backend: GivenBackend
) -> Response[BegunFamily]:
    """Begin a session for a user whom you authenticated. With an `Idempotency-Key`, a repeated call tells the same."""
    wanted = _wanted(request, data, door, backend)
    if isinstance(wanted, Problem):
        return answers.said(wanted)
    issued = await door.backends.begin(wanted, backend, visit(request))
    if not isinstance(issued, Issued):
        note(request.scope, verdict=issued.value)
        return answers.said(REFUSALS[issued])
    answer, family_id = issued.answer, ids.to_text(family.PREFIX, issued.family.id)
    note(request.scope, verdict="begun", family=family_id)
    left = max(0, answer.expires_at - max(answer.issued_at, int(door.families.wall())))
    scheme = answers.scheme_of(answer.jkt)
    told = BegunFamily(issued.access_token, issued.refresh_token, left, family_id, scheme, answer.scope)
    return Response(told, status_code=201, headers=dict(NO_STORE))


@get("/", guards=[require_scope("families:read")], responses=documented(400, 401, 403, 503))
async def families(
    door: Given,
    backend: GivenBackend,
    subject: FromQuery[str | None] = None,
    status: FromQuery[Literal["living", "revoked", "expired"] | None] = None,
    client_id: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST)] = 50,
) -> Response[Families]:
    """Your sessions, the latest begun first; `before` of the answer leads to older ones."""
    place = ids.from_text(family.PREFIX, before) if before else None
    if before and place is None:
        return answers.said(invalid("before: it is what an answer said."))
    found = await _found(door, backend, place, limit, subject=subject, status=status, client=client_id)
    if isinstance(found, Problem):
        return answers.said(found, {"Retry-After": "5"} if found is TOO_SLOW else {})
    older = None if found.older is None else ids.to_text(family.PREFIX, found.older)
    return Response(Families([shown(row.family) for row in found.rows], older), headers=dict(NO_STORE))


@get("/{family_id:str}", guards=[require_scope("families:read")], responses=documented(400, 401, 403, 404, 503))
async def one_family(family_id: FromPath[str], door: Given, backend: GivenBackend) -> Response[FamilyShown]:
    """One of your sessions, as committed now."""
    held = await _held(family_id, door, backend)
    return answers.said(NOT_FOUND) if held is None else Response(shown(held.family), headers=dict(NO_STORE))


@post(
    "/{family_id:str}/revoke",
    status_code=204,
    guards=[require_scope("families:write")],
    responses=documented(400, 401, 403, 404, 409, 503),
)
async def revoke(
    request: Request[Any, Any, Any],
    family_id: FromPath[str],
    data: JSONBody[Ending],
    door: Given,
    backend: GivenBackend,
) -> Response[None]:
    """End one of your sessions, at once. One that has ended stays as it is."""
    held = await _held(family_id, door, backend)
    if held is None:
        return answers.said(NOT_FOUND)
    note(request.scope, family=family_id)
    return ended(await door.backends.end(held, backend, data.reason, visit(request), data.ticket))


def ended(outcome: AccountOutcome) -> Response[None]:
    """204, unless it was about staff or about nobody."""
    if outcome is AccountOutcome.STAFF:
        return answers.said(STAFF)
    if outcome is AccountOutcome.UNKNOWN:
        return answers.said(NO_SUBJECT)
    if outcome is AccountOutcome.ERASED:
        return answers.said(ERASED)
    return Response(None, status_code=204, headers=dict(NO_STORE))


async def _held(family_id: str, door: Door, backend: Backend) -> Held | None:
    stream = ids.from_text(family.PREFIX, family_id)
    return None if stream is None else await door.backends.family(backend, stream)


def _wanted(request: Request[Any, Any, Any], data: NewFamily, door: Door, backend: Backend) -> Wanted | Problem:
    """What is asked for, in the shape of the use case; a subject that cannot be is one that there is not."""
    stream, replaced = ids.from_text(subject.PREFIX, data.subject), ids.from_text(family.PREFIX, data.replaces or "")
    presence, auth_time = _presence(data.context), _seconds(data.auth_time, door.families.wall())
    key = _key(request)
    if stream is None:
        return NO_SUBJECT
    if data.replaces is not None and replaced is None:
        return REFUSALS[Outcome.NOT_REPLACED]
    for told in (presence, auth_time, key):
        if isinstance(told, Problem):
            return told
    assert isinstance(presence, Presence) and isinstance(auth_time, int) and isinstance(key, str)  # noqa: S101, PT018
    return Wanted(
        subject=stream,
        client=backend.client.client if data.client_id is None else data.client_id,
        amr=" ".join(data.amr),
        acr=data.acr or "",
        auth_time=auth_time,
        presence=presence,
        device=data.device,
        replaces=replaced,
        jkt=data.dpop_jkt or "",
        key=key,
        body=msgspec.json.encode(data, order="sorted"),
    )


def _key(request: Request[Any, Any, Any]) -> str | Problem:
    sent = request.headers.getall("idempotency-key", [])
    if not sent:
        return ""
    return sent[0] if len(sent) == 1 and repeat.KEY.fullmatch(sent[0]) else BAD_KEY


def _presence(context: UserContext) -> Presence | Problem:
    if context.ip:
        try:
            address = ipaddress.ip_address(context.ip)
        except ValueError:
            return invalid("context.ip: it is no IP address.")
        return Presence(address.compressed, clean_agent(context.user_agent.encode("utf-8", "replace")))
    return Presence("", clean_agent(context.user_agent.encode("utf-8", "replace")))


def _seconds(at: datetime | None, now: float) -> int | Problem:
    if at is None:
        return 0
    if at.tzinfo is None or not 0 < at.timestamp() <= now + CLOCKS_DIFFER:
        return invalid("auth_time: it is in the future, or without an offset from UTC.")
    return min(int(at.timestamp()), int(now))


async def _found(
    door: Door, backend: Backend, before: bytes | None, limit: int, **wanted: str | None
) -> FamilyPage | Problem:
    """What the caller reaches of what it asks for. What it does not reach is not there."""
    client = wanted["client"] or (None if backend.client.operator else backend.client.client)
    stream = ids.from_text(subject.PREFIX, wanted["subject"] or "")
    if (client and not backend.reaches(client)) or (wanted["subject"] and stream is None):
        return FamilyPage([], None)
    terms = [f"client:{client}" if client else f"-client:{DASHBOARD}"]
    terms += [wanted["subject"]] if wanted["subject"] else []
    terms += [f"is:{wanted['status']}"] if wanted["status"] else []
    query = parse(" ".join(terms), FAMILIES)
    if isinstance(query, Mistake):
        return FamilyPage([], None)
    found = await door.family_search.page(query, door.now(), before=before, limit=limit)
    return TOO_SLOW if isinstance(found, TooSlow) else found


def shown(state: family.Family) -> FamilyShown:
    """A family as this door tells of it."""
    living = state.living
    return FamilyShown(
        family_id=ids.to_text(family.PREFIX, state.id),
        subject=ids.to_text(subject.PREFIX, state.subject),
        client_id=state.client,
        status=state.status,  # type: ignore[arg-type]
        started_at=answers.moment(state.started_at),
        last_used_at=answers.moment(state.rotated_at),
        ends_at=answers.moment(min(state.idle_until, state.ends_at)),
        auth_time=datetime.fromtimestamp(state.auth_time, UTC),
        amr=state.amr.split(),
        acr=state.acr or None,
        scope=state.scope,
        device=state.device,
        dpop_jkt=state.jkt or None,
        ended_at=None if living else answers.moment(state.ended_at),
        ended_by=None if living else state.ended_by,
        ended_reason=None if living else state.ended_reason,
    )


router = Router("/v1/families", route_handlers=[begin, families, one_family, revoke])
