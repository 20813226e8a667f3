"""Bodies by the letter: what says a number or a flag is one, not a string or another number. Reads no meaning."""

from typing import Any

import msgspec
from litestar import Request
from litestar.handlers import BaseRouteHandler

from api.problems import Refused, flaw_of
from core.problem import invalid


async def strictly(request: Request[Any, Any, Any]) -> None:
    """Refuse a JSON body that Litestar would bend until it fits (`"5"` for 5, `1` for true; ASVS 15.3.5)."""
    wanted = _body_of(request.route_handler)
    if wanted is None:
        return
    try:
        msgspec.json.decode(await request.body() or b"{}", type=wanted)
    except msgspec.DecodeError as error:
        raise Refused(invalid(flaw_of(str(error)))) from None


def _body_of(handler: BaseRouteHandler) -> Any:
    """The struct that a route takes as its body."""
    data = handler.parsed_fn_signature.parameters.get("data")
    return None if data is None else data.annotation
