"""The cookies of applications: names, setting and clearing. Signs and stores nothing."""

from typing import Literal

from litestar.datastructures import Cookie


def refresh_name(client: str) -> str:
    """`__Host-`: this host only, over https only (browsers except localhost), every path (RFC 6265bis §4.1.3.2)."""
    return f"__Host-refresh-{client}"


def csrf_name(client: str) -> str:
    """The cookie that a page's script reads and sends back in `X-CSRF-Token`."""
    return f"__Host-csrf-{client}"


def kept(client: str, refresh: str, csrf: str, max_age: int) -> list[Cookie]:
    """The cookies of a family, until it ends."""
    return [_cookie(refresh_name(client), refresh, max_age), _cookie(csrf_name(client), csrf, max_age, readable=True)]


def cleared(client: str) -> list[Cookie]:
    """The same cookies, gone."""
    return [_cookie(refresh_name(client), "", 0), _cookie(csrf_name(client), "", 0, readable=True)]


def _cookie(name: str, value: str, max_age: int, *, readable: bool = False) -> Cookie:
    strict: Literal["strict"] = "strict"
    return Cookie(key=name, value=value, path="/", secure=True, httponly=not readable, samesite=strict, max_age=max_age)
