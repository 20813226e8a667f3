"""A resource server: keeps notes for whoever an access token names, and serves the page. Signs nobody in."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from session_ledger_client import FAIL_CLOSED, AsyncVerifier, Claims, Feed, Rules
from session_ledger_client.starlette import Session

PAGE = Path(__file__).parent / "page"
KIT = Path(__file__).parent.parent / "clients" / "browser"
MOST = 20
"""Notes of one user; the oldest go first."""
CLIENT = "notes"
"""What the ledger calls this resource server."""


class Note(BaseModel):
    """What somebody wrote down."""

    text: str = Field(min_length=1, max_length=200)


def create_app() -> FastAPI:
    """The resource server beside the service that `LEDGER_PUBLIC_URL` names.

    With `NOTES_SECRET` it follows revocations and refuses a killed session at once; without, when the token expires.
    `/ready` says whether it knows what is revoked: a service learns of a new client within seconds.
    """
    ledger = os.environ["LEDGER_PUBLIC_URL"]
    verifier = AsyncVerifier(Rules(issuer=ledger, audience=ledger), _feed(os.environ.get("NOTES_SECRET")))
    app = FastAPI(title="Notes", openapi_url=None, lifespan=_following(verifier))
    notes: dict[str, list[str]] = {}
    who = Depends(Session(verifier))

    @app.get("/api/notes")
    async def read(claims: Annotated[Claims, who]) -> dict[str, Any]:
        return {"notes": notes.get(claims.subject, []), "sid": claims.session_id}

    @app.post("/api/notes", status_code=201)
    async def write(note: Note, claims: Annotated[Claims, who]) -> dict[str, Any]:
        kept = [*notes.get(claims.subject, []), note.text][-MOST:]
        notes[claims.subject] = kept
        return {"notes": kept, "sid": claims.session_id}

    @app.get("/ready")
    async def ready() -> Response:
        follower = verifier.follower
        return Response(status_code=204 if follower is None or follower.loaded else 503)

    @app.get("/ledger.js")
    async def settings() -> Response:
        return Response(f"export const baseUrl = {json.dumps(ledger)}\n", media_type="text/javascript")

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=_guards(ledger))

    app.mount("/kit", StaticFiles(directory=KIT))
    app.mount("/", StaticFiles(directory=PAGE))
    return app


def _feed(secret: str | None) -> Feed | None:
    return Feed(client_id=CLIENT, client_secret=secret, on_stale=FAIL_CLOSED) if secret else None


def _following(verifier: AsyncVerifier) -> Any:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with verifier:
            yield

    return lifespan


def _guards(ledger: str) -> dict[str, str]:
    """A page that holds an access token runs its own scripts only, and talks to its own servers only."""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {ledger}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
