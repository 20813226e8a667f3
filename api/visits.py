"""What a route tells the use cases of its request: taken from what the edge noted, never from headers."""

from typing import Any

from litestar import Request

from core.presence import Presence
from core.visit import Visit


def visit(request: Request[Any, Any, Any]) -> Visit:
    """The request's presence, our id for it, and when it arrived."""
    passage = request.scope["state"]["passage"]
    return Visit(Presence(passage.address, passage.agent), passage.request_id, passage.arrived)
