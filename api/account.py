"""A user's own account: who am I, where am I signed in, end one of those, change the password. Bearer routes."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from api import answers
from api.answers import CSRF_FAILED, NO_STORE, TokenAnswer
from api.credentials import Place, credentials, noted, refusal, unbound
from api.description import OF_USER
from api.door import Door, Given
from api.presented import is_foreign
from api.problems import documented
from api.visits import visit
from core.issued import Absent, Denied, Present
from core.presence import describe
from core.problem import Problem
from core.subjects import WeakPassword
from events import family, ids
from events.private import Context


class Me(msgspec.Struct):
    """The user of an access token, as the ledger has it now."""

    sub: str
    username: str
    roles: list[str]
    client_id: str
    family_id: str
    auth_time: datetime
    scope: str


class Session(msgspec.Struct):
    """One signed-in device."""

    family_id: str
    client_id: str
    status: str
    current: bool
    device: str
    """As the user named it at sign-in, or what its user agent says: `Chrome 147 · Windows`."""
    ip: str | None
    """Where it was last used from; nothing once that has expired."""
    started_at: datetime
    last_used_at: datetime
    ends_at: datetime


class Sessions(msgspec.Struct):
    """Where the user is signed in, newest first."""

    sessions: list[Session]


class PasswordRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The current password and the new one."""

    current: str
    new: str

    def __repr__(self) -> str:
        return "PasswordRequest()"


NOT_OURS = Problem(403, "not_first_party", "Passwords are changed at an application of ours.")


async def who(
    request: Request[Any, Any, Any], door: Door, audience: str = "", place: Place | None = None
) -> Present | Response[Any]:
    """Who asks, or the 401. The token must be for us, unless another `audience` is named.

    The proof of a token that is bound to a key must be of this request, unless another `place` is given.
    """
    given = credentials(request)
    if given is None:
        return answers.said(refusal(request))
    present = await door.families.authenticate(given.token, audience)
    noted(request, present)
    if isinstance(present, Absent):
        return answers.said(refusal(request))
    flaw = unbound(request, door, given, present.claims, place)
    return present if flaw is None else answers.said(refusal(request, flaw))


@get("/me", security=OF_USER, responses=documented(401, 503))
async def me(request: Request[Any, Any, Any], door: Given) -> Response[Me]:
    """Who am I? Answers from the committed state: a session that was ended a moment ago gets 401."""
    present = await who(request, door)
    if isinstance(present, Response):
        return present
    owner, state = present.subject, present.family
    said = Me(
        sub=present.claims.sub,
        username=owner.name,
        roles=owner.roles.split(),
        client_id=state.client,
        family_id=present.claims.sid,
        auth_time=datetime.fromtimestamp(state.auth_time, UTC),
        scope=state.scope,
    )
    return Response(said, headers=dict(NO_STORE))


@get("/sessions", security=OF_USER, responses=documented(401, 503))
async def sessions(request: Request[Any, Any, Any], door: Given) -> Response[Sessions]:
    """Where am I signed in? Living sessions, newest first; those of an application that is not ours are its own."""
    present = await who(request, door)
    if isinstance(present, Response):
        return present
    found = await door.reader.of_subject(present.subject.id)
    living = [one for one in found if one.living and _may_see(door, present, one)]
    contexts = await door.history.last_contexts(living)
    shown = [_session(one, present, contexts.get(one.id, Context())) for one in living]
    return Response(Sessions(shown), headers=dict(NO_STORE))


@delete("/sessions/{family_id:str}", status_code=204, security=OF_USER, responses=documented(401, 404, 503))
async def end_session(
    request: Request[Any, Any, Any],
    family_id: FromPath[str],
    door: Given,
) -> Response[None]:
    """Sign out one of my sessions. One of somebody else's is not found."""
    present = await who(request, door)
    if isinstance(present, Response):
        return present
    stream = ids.from_text(family.PREFIX, family_id)
    held = await door.reader.get(stream) if stream else None
    if stream is None or held is None or not _is_mine(door, present, held.family):
        return answers.said(Problem(404, "session_not_found", "You have no session of this id."))
    await door.families.revoke(stream, "subject", "ended_by_user", visit(request))
    return Response(None, status_code=204, headers=dict(NO_STORE))


@post("/password", status_code=200, security=OF_USER, responses=documented(400, 401, 403, 429, 503))
async def password(
    request: Request[Any, Any, Any], data: JSONBody[PasswordRequest], door: Given
) -> Response[TokenAnswer]:
    """Change the password. All sessions end; the answer holds the tokens of a new one."""
    present = await who(request, door)
    if isinstance(present, Response):
        return present
    if not _is_ours(door, present):
        return answers.said(NOT_OURS)
    if present.family.carriage == "cookie" and is_foreign(request, present.family.client, door):
        return answers.said(CSRF_FAILED)  # the answer sets cookies
    try:
        new = door.subjects.checked(data.new, present.subject.name)
    except WeakPassword as weak:
        return answers.said(Problem(400, weak.weakness.reason.value, weak.weakness.text))
    issued = await door.families.change_password(present, data.current, new, visit(request))
    return answers.denied(request, issued) if isinstance(issued, Denied) else answers.tokens(request, issued)


def _is_ours(door: Door, present: Present) -> bool:
    """Whether the application that asks is one to which people may give their password."""
    app = door.clients.get(present.family.client)
    return app is not None and bool(app.first_party)


def _may_see(door: Door, present: Present, state: family.Family) -> bool:
    """An application of somebody else acts for its user in its own sessions, and in no other."""
    return state.client == present.family.client or _is_ours(door, present)


def _is_mine(door: Door, present: Present, state: family.Family) -> bool:
    return state.subject == present.subject.id and _may_see(door, present, state)


def _session(state: family.Family, present: Present, context: Context) -> Session:
    return Session(
        family_id=ids.to_text(family.PREFIX, state.id),
        client_id=state.client,
        status=state.status,
        current=state.id == present.family.id,
        device=state.device or (describe(context.agent) if context.agent else ""),
        ip=context.ip or None,
        started_at=answers.moment(state.started_at),
        last_used_at=answers.moment(state.rotated_at),
        ends_at=answers.moment(min(state.idle_until, state.ends_at)),
    )


router = Router("/auth", route_handlers=[me, sessions, end_session, password])
