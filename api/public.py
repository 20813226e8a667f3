"""What anybody may read: keys, checkpoint, health, the start page."""

from typing import Any

import msgspec
from litestar import MediaType, Response, Router, get

from api import answers
from api.door import Given
from api.problems import documented
from core.problem import UNAVAILABLE

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Session Ledger</title>
<meta name="viewport" content="width=device-width"></head>
<body><h1>Session Ledger</h1><p>This service signs users in and keeps a ledger of their sessions.</p>
<ul><li><a href="/dashboard">Dashboard</a>, for staff</li>
<li><a href="/.well-known/jwks.json">Public keys</a> of the access tokens</li>
<li><a href="/v1/checkpoint">Checkpoint</a>, the signed state of the log</li>
<li><a href="/health/ready">Health</a></li></ul></body></html>
"""


class Health(msgspec.Struct):
    """Whether requests can be served."""

    status: str


@get("/.well-known/jwks.json", media_type="application/jwk-set+json")
async def jwks(door: Given) -> Response[dict[str, Any]]:
    """Public keys of access tokens (RFC 7517). A new key stands here before it signs."""
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return Response(door.keys.published(), headers=headers, media_type="application/jwk-set+json")


@get("/v1/checkpoint", media_type=MediaType.TEXT)
async def checkpoint(door: Given) -> str:
    """The last signed state of the log, a C2SP signed note."""
    return door.checkpointing.note


@get("/health/live")
async def live() -> Health:
    """The process answers."""
    return Health("live")


@get("/health/ready", responses=documented(503))
async def ready(door: Given) -> Response[Health]:
    """The ledger can commit: a batch without commands just did."""
    if await door.ready():
        return Response(Health("ready"))
    return answers.said(UNAVAILABLE, dict(UNAVAILABLE.headers))


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def index() -> str:
    """A small page that links on."""
    return PAGE


router = Router("/", route_handlers=[jwks, checkpoint, live, ready, index])
