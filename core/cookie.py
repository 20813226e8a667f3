"""Reading cookies without ambiguity. Pure; names and attributes of each cookie are its door's."""

from collections.abc import Iterable


def values(headers: Iterable[tuple[bytes, bytes]], name: str) -> list[str]:
    """Every value sent under exactly this name. More than one is an attack or a mistake: refuse, never choose."""
    found = []
    wanted = name.encode()
    for header, content in headers:
        if header.lower() == b"cookie":
            for pair in content.split(b";"):
                key, sign, value = pair.strip().partition(b"=")
                if sign and key == wanted:
                    found.append(value.decode("latin-1"))
    return found
