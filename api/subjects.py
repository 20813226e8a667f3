"""Users for trusted backends: create, look, sign out, switch off and on. No role is given or seen here."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from api import answers
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.door import Door, Given
from api.families import NO_SUBJECT, Ending, ended
from api.problems import documented
from api.visits import visit
from core.grants import Backend
from core.problem import Problem, invalid
from core.reason import STAFF_REASONS
from core.subject import Outcome
from core.subjects import BadHash, BadName, New, WeakPassword
from events import ids
from events.subject import EXTERNAL, PREFIX, Subject

NAME_TAKEN = Problem(409, "username_taken", "Somebody has this user name already.")
NOT_YOURS = Problem(403, "subject_of_others", "Only who created a user, or an operator, switches it off and on.")
BAD_HASH = invalid("password_hash: it is not argon2, bcrypt or scrypt as they are usually written, or costs too much.")
BAD_NAME = invalid(
    "username, external_id: 1 to 254 characters, no control characters and no space at the ends; "
    "a password or its hash needs a username, and there is one of the two at most."
)


class NewSubject(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A user to create. Without a `username` it signs in with you only, who begin its sessions."""

    username: str | None = None
    password: str | None = None
    password_hash: str | None = None
    """As other software made it: argon2, bcrypt or scrypt."""
    external_id: str | None = None
    """What you call this user; you alone see it. The user of an id that you gave already is answered."""

    def __repr__(self) -> str:
        return "NewSubject()"


class Disabling(msgspec.Struct, forbid_unknown_fields=True):
    """Why nobody may sign in as this user."""

    reason: Literal["stolen_token", "suspicious", "lost_device", "user_request", "left", "maintenance"] = "maintenance"


assert set(STAFF_REASONS) == set(Disabling.__annotations__["reason"].__args__)  # noqa: S101


class SubjectShown(msgspec.Struct, kw_only=True):
    """A user as it is now."""

    subject: str
    status: Literal["enabled", "disabled", "erased"]
    username: str | None
    external_id: str | None
    """What you call it, if you created it."""
    created_at: datetime


KNOWN = {200: ResponseSpec(SubjectShown, description="You called one so before", generate_examples=False)}


@post("/", guards=[require_scope("subjects:write")], responses=KNOWN | documented(400, 401, 403, 409, 503))
async def create(
    request: Request[Any, Any, Any], data: JSONBody[NewSubject], door: Given, backend: GivenBackend
) -> Response[SubjectShown]:
    """Create a user: 201. One whom you called so before stays as it is: 200."""
    new = _new(data, backend)
    if new is None:
        return answers.said(BAD_NAME)
    try:
        created = await door.subjects.create(new, visit(request).origin)
    except BadName:
        return answers.said(BAD_NAME)
    except BadHash:
        return answers.said(BAD_HASH)
    except WeakPassword as weak:
        return answers.said(Problem(400, weak.weakness.reason.value, weak.weakness.text))
    owner = await door.backends.subject(backend, created.subject)
    if created.outcome is Outcome.NAME_TAKEN or owner is None:
        return answers.said(NAME_TAKEN)
    status = 200 if created.outcome is Outcome.FOUND else 201
    return Response(_shown(owner, backend), status_code=status, headers=dict(NO_STORE))


@get("/{subject_id:str}", guards=[require_scope("subjects:read")], responses=documented(400, 401, 403, 404, 503))
async def subject(subject_id: FromPath[str], door: Given, backend: GivenBackend) -> Response[SubjectShown]:
    """One of your users."""
    owner = await _reached(subject_id, door, backend)
    return answers.said(NO_SUBJECT) if owner is None else Response(_shown(owner, backend), headers=dict(NO_STORE))


@post(
    "/{subject_id:str}/revoke",
    status_code=204,
    guards=[require_scope("families:write")],
    responses=documented(400, 401, 403, 404, 409, 503),
)
async def revoke(
    request: Request[Any, Any, Any],
    subject_id: FromPath[str],
    data: JSONBody[Ending],
    door: Given,
    backend: GivenBackend,
) -> Response[None]:
    """End all your sessions of this user, at once; an operator ends those with every client."""
    owner = await _reached(subject_id, door, backend)
    if owner is None:
        return answers.said(NO_SUBJECT)
    return ended(await door.backends.end_all(owner, backend, data.reason, visit(request), data.ticket))


@post(
    "/{subject_id:str}/disable",
    status_code=204,
    guards=[require_scope("subjects:write")],
    responses=documented(400, 401, 403, 404, 409, 503),
)
async def disable(
    request: Request[Any, Any, Any],
    subject_id: FromPath[str],
    data: JSONBody[Disabling],
    door: Given,
    backend: GivenBackend,
) -> Response[None]:
    """Nobody signs in as this user any more; all its sessions end with it, whoever began them."""
    owner = await changeable(subject_id, door, backend)
    if isinstance(owner, Problem):
        return answers.said(owner)
    return ended(await door.backends.disable(owner, backend, data.reason, visit(request)))


@post(
    "/{subject_id:str}/enable",
    status_code=204,
    guards=[require_scope("subjects:write")],
    responses=documented(400, 401, 403, 404, 409, 503),
)
async def enable(
    request: Request[Any, Any, Any], subject_id: FromPath[str], door: Given, backend: GivenBackend
) -> Response[None]:
    """The user can sign in again. No session comes back."""
    owner = await changeable(subject_id, door, backend)
    if isinstance(owner, Problem):
        return answers.said(owner)
    return ended(await door.backends.enable(owner, backend, visit(request)))


def _new(data: NewSubject, backend: Backend) -> New | None:
    """What is asked for; nothing where the parts do not go together."""
    both = data.password is not None and data.password_hash is not None
    secret = data.password is not None or data.password_hash is not None
    if both or (secret and data.username is None) or "" in (data.username, data.external_id, data.password_hash):
        return None
    return New(
        actor=backend.actor,
        name=data.username or "",
        password=data.password or "",
        hashed=data.password_hash or "",
        client=backend.client.client,
        external=data.external_id or "",
    )


async def _reached(subject_id: str, door: Door, backend: Backend) -> Subject | None:
    stream = ids.from_text(PREFIX, subject_id)
    return None if stream is None else await door.backends.subject(backend, stream)


async def changeable(subject_id: str, door: Door, backend: Backend) -> Subject | Problem:
    """A user that this backend may switch off, or the refusal: it created it, or is an operator."""
    owner = await _reached(subject_id, door, backend)
    if owner is None:
        return NO_SUBJECT
    return owner if backend.client.operator or owner.client == backend.client.client else NOT_YOURS


def _shown(owner: Subject, backend: Backend) -> SubjectShown:
    stated = ids.to_text(PREFIX, owner.id)
    client, _, external = owner.external.partition(EXTERNAL)
    return SubjectShown(
        subject=stated,
        status=owner.status,  # type: ignore[arg-type]
        username=None if owner.name == stated else owner.name,
        external_id=external if external and client == backend.client.client else None,
        created_at=answers.moment(owner.registered_at),
    )


router = Router("/v1/subjects", route_handlers=[create, subject, revoke, disable, enable])
