"""What is told of routes: what each may answer before it is reached, what proves a caller, which methods there are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import (
    Components,
    OAuthFlow,
    OAuthFlows,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
    SecurityRequirement,
    SecurityScheme,
)
from litestar.routes import HTTPRoute

from api.backend import require_scope
from core.body import FORM
from core.problem import OAUTH, PROBLEM_JSON
from core.scope import SERVICE

USER: Final = "user"
CLIENT: Final = "client"
SECRET: Final = "secret"  # noqa: S105 - the name of a scheme
BOUND: Final = "bound"
OF_USER: Final[list[SecurityRequirement]] = [{USER: []}, {BOUND: []}]
OF_SECRET: Final[list[SecurityRequirement]] = [{SECRET: []}, {}]
"""A public client has no secret and names itself in the form."""
OF_ASKING: Final[list[SecurityRequirement]] = [{SECRET: []}, {CLIENT: ["introspect"]}, {}]
"""A secret may stand in the form as well."""

LAST: Final = {"Last-Event-ID": "The id of the last event that the reader has: where to go on."}

ANY: Final = (400, 414, 431)
"""What the edge answers to a query or header that cannot be right, whatever the address."""
WITH_BODY: Final = (408, 411, 413, 415)
METHODS: Final = ("get", "head", "options", "post", "put", "patch", "delete")
_TAKE_A_BODY: Final = frozenset({"post", "put", "patch", "delete"})


def components() -> Components:
    """What proves a caller: OpenAPI's security schemes."""
    flow = OAuthFlow(token_url="/oauth/token", scopes=dict(SERVICE))  # noqa: S106 - an address
    return Components(
        security_schemes={
            USER: SecurityScheme("http", "The access token of a user.", scheme="bearer", bearer_format="JWT"),
            BOUND: SecurityScheme("http", "One that is bound to a key, with its proof in DPoP.", scheme="DPoP"),
            CLIENT: SecurityScheme("oauth2", "A client's own access token.", flows=OAuthFlows(client_credentials=flow)),
            SECRET: SecurityScheme("http", "A client's id and secret; they may stand in the form.", scheme="basic"),
        }
    )


def taking(
    form: Mapping[str, str | Schema] | None = None,
    needs: str = "",
    headers: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> type[Operation]:
    """An operation that takes the fields of this form, or these headers: by name, with what they are for.

    The form `needs` one of its fields; `also` are media types that its 200 may have besides.
    """

    @dataclass
    class Taking(Operation):
        def __post_init__(self) -> None:
            if form:
                self.request_body = RequestBody({FORM: OpenAPIMediaType(_form(form, needs))}, required=True)
            named = [Parameter(name, "header", _text(about)) for name, about in (headers or {}).items()]
            self.parameters = [*(self.parameters or []), *named] or None
            good = (self.responses or {}).get("200")
            if isinstance(good, OpenAPIResponse) and good.content is not None:
                good.content |= {media: OpenAPIMediaType(_text("")) for media in also}

    return Taking


def complete(inner: Litestar) -> None:
    """Add to the description of each route what holds for all of their kind. Called once, before it is served."""
    described = inner.openapi_schema
    name = next(name for name in described.components.schemas if name.endswith("ProblemDetails"))
    error = Reference(f"#/components/schemas/{name}")
    for route in inner.routes:
        path = route.path_format or "/"
        item = (described.paths or {}).get(path)
        if isinstance(route, HTTPRoute) and item is not None:
            _complete(path, item, error, _guards(route))


def tell_methods(inner: Litestar) -> None:
    """Let `OPTIONS` name every method of an address (RFC 9110 §9.3.7).

    Litestar makes its answer with the first handler of a path, and keeps it when others follow.
    """
    for route in inner.routes:
        for index, handler in enumerate(route.route_handlers if isinstance(route, HTTPRoute) else []):
            if isinstance(route, HTTPRoute) and handler.fn.__module__ == HTTPRoute.__module__:
                made = route.create_options_handler(route.path)
                made.owner = handler.owner
                made.on_registration(inner)
                route.route_handlers[index] = made
                route.route_handler_map["OPTIONS"] = (made, route.route_handler_map["OPTIONS"][1])


def _complete(path: str, item: PathItem, error: Reference, scopes: Mapping[str, str]) -> None:
    for method in METHODS:
        operation: Operation | None = getattr(item, method)
        if operation is None:
            continue
        if method in scopes:
            operation.security = [{CLIENT: [scopes[method]]}]
        for parameter in operation.parameters or []:
            if isinstance(parameter, Parameter) and parameter.param_in == "path":
                parameter.schema = _text("")  # Litestar takes a path for a URI
        operation.responses = _responses(path, method, operation, error)


def _responses(
    path: str, method: str, operation: Operation, error: Reference
) -> dict[str, OpenAPIResponse | Reference]:
    told = dict(operation.responses or {})
    if "204" in told:
        cast("OpenAPIResponse", told["204"]).content = None
    refused = {**_of(ANY), **(_of(WITH_BODY) if method in _TAKE_A_BODY else {}), **(_of([404]) if "{" in path else {})}
    shaped = {one for one in told if one >= "400"} | refused.keys()
    for status in shaped:
        phrase = HTTPStatus(int(status)).phrase
        if path.startswith(OAUTH):
            told[status] = OpenAPIResponse(phrase, content={"application/json": OpenAPIMediaType(_OAUTH_ERROR)})
        elif status in refused:
            told[status] = OpenAPIResponse(phrase, content={PROBLEM_JSON: OpenAPIMediaType(error)})
    return dict(sorted(told.items()))


def _of(statuses: Iterable[int]) -> dict[str, None]:
    return {str(status): None for status in statuses}


def _guards(route: HTTPRoute) -> dict[str, str]:
    """The scope that each method of a route takes."""
    return {
        method.lower(): guard.scope
        for handler in route.route_handlers
        for guard in _scoped(handler)
        for method in handler.http_methods
    }


def _scoped(handler: HTTPRouteHandler) -> list[require_scope]:
    return [one for one in handler.resolve_guards() if isinstance(one, require_scope)]


def _form(fields: Mapping[str, str | Schema], needs: str) -> Schema:
    told: dict[str, Schema | Reference] = {
        name: _text(about) if isinstance(about, str) else about for name, about in fields.items()
    }
    return Schema(type=OpenAPIType.OBJECT, properties=told, required=[needs])


def one_of(choices: Iterable[str]) -> Schema:
    """A field that has one of these values."""
    return Schema(type=OpenAPIType.STRING, enum=list(choices))


def _text(about: str) -> Schema:
    return Schema(type=OpenAPIType.STRING, description=about)


_OAUTH_ERROR: Final = Schema(
    type=OpenAPIType.OBJECT,
    description="RFC 6749 §5.2.",
    properties={
        "error": _text("What is wrong, as the standards name it."),
        "error_description": _text("The same for people."),
        "request_id": _text("Finds it in the log."),
    },
    required=["error", "error_description", "request_id"],
)
