"""For Django: a decorator for views, which may be sync or async. Needs one setting, and no model and no session.

The setting is `SESSION_LEDGER = {"rules": Rules(…), "feed": Feed(…)}`: what `Verifier` is made of.
"""

from collections.abc import Callable
from functools import cache, wraps
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from session_ledger_client.bearer import presented, refusal
from session_ledger_client.claims import Claims
from session_ledger_client.dpop import Request
from session_ledger_client.errors import SessionLedgerError
from session_ledger_client.verifier import Verifier

View = Callable[..., Any]


@cache
def verifier() -> Verifier:
    """The one of this process, made of the setting SESSION_LEDGER."""
    return Verifier(**settings.SESSION_LEDGER)


def claims_of(request: HttpRequest, needed: str = "") -> Claims:
    """Of the request's token. Raises SessionLedgerError."""
    given = presented(_values(request, "HTTP_AUTHORIZATION"))
    path = quote(request.path)
    told = Request(given.scheme, request.method or "", path, _values(request, "HTTP_DPOP"))
    claims = verifier().verify(given.token, told)
    claims.require(needed)
    return claims


def _values(request: HttpRequest, name: str) -> list[str]:
    """A header that comes twice is joined by the server, and is then no single one."""
    value = request.META.get(name)
    return [] if value is None else [value]


def session_required(needed: str = "") -> Callable[[View], View]:
    """`@session_required("orders:read")`: the view finds Claims in `request.session_claims`; others get 401 or 403.

    The answers 401, 403 and 503 are made here. Such views read no cookie, so they may be exempt from CSRF checks.
    """

    def around(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def wrapped_async(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:
                # in a thread: the verifier may have to wait for keys
                refused = await sync_to_async(_refused, thread_sensitive=False)(request, needed)
                return refused or await view(request, *arguments, **named)

            return wrapped_async

        @wraps(view)
        def wrapped(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:
            return _refused(request, needed) or view(request, *arguments, **named)

        return wrapped

    return around


def _refused(request: HttpRequest, needed: str) -> HttpResponse | None:
    try:
        request.session_claims = claims_of(request, needed)
    except SessionLedgerError as error:
        said = refusal(error)
        return HttpResponse(said.body, status=said.status, headers=said.headers)
    return None
