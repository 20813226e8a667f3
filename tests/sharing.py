"""What a process of tests makes thousands of and a service a few: engines and HTTP clients. They share what costs.

Every engine keeps its own connections and settings. Shared are the dialect, which SQLAlchemy's caches (and those of
`events/bulk.py`) tell engines apart by, and the texts of statements. HTTP clients share the list of authorities that
they trust, which takes longer to read than a service takes to answer, and is read even where there is no TLS.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from httpx import _config as httpx_config
from httpx._transports import default as httpx_transports
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from events import postgres_hold, postgres_store, sqlite

_FIRST: dict[str, Engine] = {}
"""The engine whose texts the others of its kind use."""


def share() -> None:
    """Let this process do so from now on."""
    vars(httpx_transports)["create_ssl_context"] = cache(httpx_config.create_ssl_context)
    for module in (postgres_hold, postgres_store, sqlite):
        for name in ("create_engine", "create_async_engine"):
            if make := getattr(module, name, None):
                setattr(module, name, _sharing(make))


def _sharing(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(url: Any, **options: Any) -> Any:
        engine = make(url, **options)
        own: Engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        kind = f"{own.dialect.name} {own.dialect.driver} {options.get('poolclass')} {options.get('isolation_level')}"
        first = _FIRST.setdefault(kind, own)
        if not hasattr(first.dialect, "server_version_info"):  # it has not asked its server yet what it must know
            _FIRST[kind] = own
        elif first is not own:
            own.dialect = own.pool._dialect = first.dialect
            own._compiled_cache = first._compiled_cache
        return engine

    return made
