"""A QR code as a part of the page: an SVG of attributes only, which the content security policy lets pass. Pure."""

from typing import Final

import segno
from markupsafe import Markup

_SCALE: Final = 5
_QUIET: Final = 4
"""Modules of white around it (ISO/IEC 18004 §6.3.8): apps need them, on dark pages too."""


def svg(text: str) -> Markup:
    """The code, dark on white whatever the page looks like."""
    made = segno.make(text, error="m", micro=False)
    drawn = made.svg_inline(scale=_SCALE, border=_QUIET, dark="#000", light="#fff", svgclass="qr", lineclass=None)
    return Markup(drawn)  # noqa: S704 - drawn by the library out of numbers; the text is not in it
