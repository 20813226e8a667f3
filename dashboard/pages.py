"""From values to HTML: the templates, escaped without exception, and the static files under names of their content."""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboard import telling

HERE: Final = Path(__file__).parent
ASSETS: Final = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "passkey.js": "text/javascript",
    "codes.js": "text/javascript",
    "mark.svg": "image/svg+xml",
    "vendor/htmx.min.js": "text/javascript",
    "vendor/hx-sse.min.js": "text/javascript",
}
STATIC: Final = "/dashboard/static"
HEADLINES: Final = {
    400: "That request cannot be read",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not that way",
    422: "Not like this",
    409: "Something else has changed",
    429: "Too many tries",
    503: "One moment",
}


class Asset(NamedTuple):
    """A static file in memory."""

    media: str
    content: bytes


class Pages:
    """All pages of this door. Reads its files once, when it is made."""

    def __init__(self, whence: Callable[[str], object] = lambda _ip: "") -> None:
        files = {name: (HERE / "static" / name).read_bytes() for name in ASSETS}
        self._names = {name: _fingerprinted(name, content) for name, content in files.items()}
        self.assets = {self._names[name]: Asset(ASSETS[name], content) for name, content in files.items()}
        """By the name in the URL, which changes with the content, so that caches may keep it for ever."""
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(asset=self.asset, t=telling, staff=None, whence=whence)

    def asset(self, name: str) -> str:
        """Where a static file is."""
        return f"{STATIC}/{self._names[name]}"

    def render(self, template: str, /, **values: Any) -> bytes:
        """A template with its values."""
        return self._templates.get_template(template).render(values).encode()

    def block(self, template: str, block: str, /, **values: Any) -> bytes:
        """One block of a template: the part of a page that a script on it asked for."""
        found = self._templates.get_template(template)
        return "".join(found.blocks[block](found.new_context(values))).encode()

    def error(self, status: int, code: str, detail: str, staff: object = None) -> bytes:
        """The page of a refusal, in the frame where somebody is signed in; shows nothing of what came in by itself."""
        headline = HEADLINES.get(status, HTTPStatus(status).phrase if status < 500 else "Something went wrong")
        return self.render("error.html", status=status, code=code, detail=detail, headline=headline, staff=staff)


def _fingerprinted(name: str, content: bytes) -> str:
    stem, _, suffix = Path(name).name.partition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
