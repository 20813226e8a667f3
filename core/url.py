"""Whether two URLs name the same resource: RFC 3986 §6.2.2 and §6.2.3, without query and fragment. Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

MAX_LENGTH: Final = 2 * 1024
_PORTS: Final = {"http": 80, "https": 443}
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_VISIBLE: Final = re.compile(r"[!-~]+")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normal(url: str) -> str | None:
    """Scheme, host, port and path in the one form that all spellings of them have; None for what is no http(s) URL."""
    if len(url) > MAX_LENGTH or not _VISIBLE.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host or "@" in parts.netloc:
        return None
    named = f"[{host}]" if ":" in host else host
    shown = "" if port in {None, _PORTS[scheme]} else f":{port}"
    return f"{scheme}://{named.lower()}{shown}{_without_dots(_ENCODED.sub(_decoded, parts.path)) or '/'}"


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4, for a path that begins with a slash or is empty."""
    kept: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment == ".." and len(kept) > 1:
            kept.pop()
        if segment not in {".", ".."}:
            kept.append(segment)
        elif last:
            kept.append("")
    return "/".join(kept)
