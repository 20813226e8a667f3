"""Erasing a user of a backend: everything known of the person goes, for good. The rules are core/erasure.py."""

from typing import Any, Final, Literal

import msgspec
from litestar import Request, Response, Router, post
from litestar.params import FromPath, JSONBody

from api import answers
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.door import Given
from api.families import STAFF, Ticket
from api.problems import documented
from api.subjects import changeable
from api.visits import visit
from core import erasures
from core.erasure import Erasure
from core.problem import Problem
from core.reason import ERASURE_REASONS
from core.subject import Outcome
from edge import note
from events import ids
from events.subject import PREFIX

PATIENCE: Final = 3.0
"""Seconds that an answer waits for the last row to be gone. Sign-in and sessions have ended before that."""


class Erasing(msgspec.Struct, forbid_unknown_fields=True):
    """Why, as the log keeps it. There is no note: nothing about this person is kept from here on."""

    reason: Literal["user_request", "left", "retention", "maintenance"] = "user_request"
    ticket: Ticket = ""


assert set(ERASURE_REASONS) == set(Erasing.__annotations__["reason"].__args__)  # noqa: S101


class ErasedShown(msgspec.Struct, kw_only=True):
    """A user of whom nothing is known any more."""

    subject: str
    status: Literal["erased"] = "erased"
    finished: bool
    """Whether the last row is deleted and the database's files hold none of them. Ask again where it is not."""


@post(
    "/{subject_id:str}/erase",
    status_code=200,
    guards=[require_scope("subjects:erase")],
    responses=documented(400, 401, 403, 404, 503),
)
async def erase(
    request: Request[Any, Any, Any],
    subject_id: FromPath[str],
    data: JSONBody[Erasing],
    door: Given,
    backend: GivenBackend,
) -> Response[ErasedShown]:
    """Delete everything that is known of this user; all its sessions end. It never comes back. Idempotent."""
    owner = await changeable(subject_id, door, backend)
    if isinstance(owner, Problem):
        return answers.said(owner)
    stated = ids.to_text(PREFIX, owner.id)
    note(request.scope, subject=stated)
    command = Erasure(erasures.new_action(), owner.id, backend.actor, data.reason, data.ticket, staff=False)
    if await door.erasures.erase(owner, command, visit(request).origin) is Outcome.STAFF:
        return answers.said(STAFF)
    begun = await door.erasures.unfinished(owner.id)
    finished = [await door.actions.carried_out(one.id, PATIENCE) for one in begun]
    return Response(ErasedShown(subject=stated, finished=all(finished)), headers=dict(NO_STORE))


router = Router("/v1/subjects", route_handlers=[erase])
