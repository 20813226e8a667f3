"""The system: is the ledger well? Head, checkpoint, sizes, the last verification and a button for the next."""

from typing import Any

from litestar import Request, Response, get, post

from dashboard import answers, telling
from dashboard.door import RESPONDER, VIEWER, Given, GivenStaff
from dashboard.gate import wants


@get("/system", opt=wants(VIEWER))
async def system(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """How the ledger is."""
    head = await door.history.head()
    seen = door.condition()
    running = door.verification.running
    if answers.wants_json(request):
        last = door.verification.last
        return answers.json(
            {
                "size": head.size,
                "last_at": telling.iso(head.last_at),
                "checkpoint": {"size": seen.signed, "at": telling.iso(seen.signed_at), "note": seen.note},
                "bytes": seen.sizes,
                "waiting": seen.waiting,
                "version": seen.version,
                "verification": {
                    "running": running,
                    "done": door.verification.done,
                    "last": last._asdict() if last else None,
                },
            }
        )
    page = door.pages.render(
        "system.html",
        staff=staff,
        head=head,
        seen=seen,
        verification=door.verification,
        running=running,
        may=staff.may(RESPONDER),
        now=door.now(),
    )
    return answers.html(page)


@post("/system/verify", opt=wants(RESPONDER), status_code=303)
async def verify(door: Given) -> Response[Any]:
    """Begin to verify the whole log; the page shows how far it is."""
    door.verification.start()
    return answers.see_other("/dashboard/system#verification")
