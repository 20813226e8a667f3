"""Applications for services of tests, each used by one after the other: making one takes longer than most tests."""

from typing import Any

import app
from edge import Edge

_UNUSED: dict[bool, list[app.Application]] = {True: [], False: []}
"""Of services that have stopped, by whether they tell their schema."""


def app_of(service: app.Service) -> Edge:
    """The application of a started service, the same each time.

    It hangs on the service, which it knows, so that both go together: anywhere else it would keep all of them.
    """
    kept: dict[str, Any] = vars(service)
    if "edge" not in kept:
        shown = service.settings.public_schema
        kept["application"] = _UNUSED[shown].pop() if _UNUSED[shown] else app.Application(public_schema=shown)
        kept["edge"] = kept["application"].attached(service)
    edge: Edge = kept["edge"]
    return edge


def give_back(service: app.Service) -> None:
    """The service has stopped, and its application may be that of another."""
    application = vars(service).pop("application", None)
    if application is not None:
        _UNUSED[service.settings.public_schema].append(application)
