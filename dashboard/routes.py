"""The routes of this door behind its gate, as one router. Wires; decides nothing."""

from collections.abc import Callable
from typing import Any

from litestar import Request, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from dashboard import (
    access,
    actions,
    answers,
    bulk,
    clients,
    erasure,
    event,
    events,
    exports,
    factors,
    families,
    family_list,
    keys,
    kills,
    lookup,
    masters,
    network,
    overview,
    own_password,
    parts,
    prove,
    reference,
    resets,
    second,
    sign_in,
    stream,
    subjects,
    system,
    webhooks,
)
from dashboard.cookie import CarryCookie
from dashboard.door import Door, Given, Staff
from dashboard.gate import PUBLIC, EnrolFirst, SignInNeeded, gate

FOR_EVER = "public, max-age=31536000, immutable"


@get("/static/{name:str}", opt=PUBLIC)
async def static(door: Given, name: FromPath[str]) -> Response[bytes]:
    """A static file; its name changes with its content, so it may be kept for ever."""
    asset = door.pages.assets.get(name)
    if asset is None:
        raise NotFoundException
    return Response(asset.content, media_type=asset.media, headers={"Cache-Control": FOR_EVER})


HANDLERS = [
    overview.overview,
    events.events,
    parts.values,
    parts.head,
    stream.stream,
    exports.export,
    event.show,
    reference.filters,
    family_list.listed,
    families.show,
    subjects.show,
    subjects.preview,
    subjects.switch,
    erasure.preview,
    erasure.erase,
    network.address,
    network.network,
    bulk.freeze,
    bulk.look,
    bulk.confirm,
    lookup.ask,
    lookup.look_up,
    kills.preview,
    kills.kill,
    actions.latest,
    actions.show,
    prove.form,
    prove.prove,
    keys.keys,
    keys.rotate,
    keys.preview,
    keys.revoke,
    masters.preview,
    masters.revoke,
    clients.clients,
    clients.register,
    clients.show,
    clients.change,
    clients.rotate,
    clients.preview,
    clients.switch,
    webhooks.webhooks,
    webhooks.register,
    webhooks.show,
    webhooks.rotate,
    webhooks.switch,
    webhooks.ping,
    webhooks.replay,
    system.system,
    system.verify,
    access.access,
    access.change,
    resets.preview,
    resets.reset,
    factors.mine,
    factors.offer,
    factors.add,
    factors.to_make,
    factors.make,
    factors.codes,
    factors.remove,
    own_password.form,
    own_password.change,
    second.form,
    second.prove,
    second.challenge,
    second.alone,
    sign_in.form,
    sign_in.sign_in,
    sign_in.sign_out,
    static,
]


def router(door: Callable[[], Door]) -> Router:
    """All routes under /dashboard; `door` gives what they work with, for each request."""

    def refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        if error.status_code >= 500:
            raise error
        return answers.refused(request, door(), answers.explained(error))

    def sign_in_first(request: Request[Any, Any, Any], needed: SignInNeeded) -> Response[bytes]:
        return answers.sign_in_first(request, door(), needed)

    def enrol_first(request: Request[Any, Any, Any], _needed: EnrolFirst) -> Response[bytes]:
        return answers.enrol_first(request, door())

    return Router(
        "/dashboard",
        route_handlers=HANDLERS,
        include_in_schema=False,  # for people, not for programs
        guards=[gate(door)],
        middleware=[CarryCookie()],
        exception_handlers={HTTPException: refused, SignInNeeded: sign_in_first, EnrolFirst: enrol_first},
        dependencies={
            "door": Provide(door, sync_to_thread=False),
            "staff": Provide(_staff, sync_to_thread=False),
        },
    )


def _staff(request: Request[Any, Any, Any]) -> Staff:
    """Whom the gate let in."""
    staff: Staff = request.scope["state"]["staff"]
    return staff
