"""The laws of the layout: who may import whom, what the pure modules may know, what stands at the top."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "events": {"events"},
    "core": {"core", "events"},
    "edge": {"edge", "core", "events"},
    "api": {"api", "edge", "core", "events"},
    "dashboard": {"dashboard", "edge", "core", "events"},
    "terminal": {"terminal", "app", "service", "settings", "core", "events"},
    "settings": {"settings", "core"},
    "service": {"settings", "core", "events"},
    "app": {"service", "settings", "dashboard", "api", "edge", "core", "events"},
    "cli": {"terminal", "settings", "core", "events"},
}
"""Rooms and modules at the top, each with what of ours it may import."""

WRITES = {f"events.{name}" for name in "ledger writer commit rows sqlite sqlite_hold postgres_hold".split()}
"""What the doors reach through core only."""

PURE = {
    *(
        f"events.{name}"
        for name in (
            "ids fact private decision action family subject client key log merkle checkpoint catalogue values "
            "spans fields filters webhook factor"
        ).split()
    ),
    *(
        f"core.{name}"
        for name in (
            "verdict family beginning ending subject client scope application key log origin address policy token "
            "presence problem header body password assertion repeat imported erasure context webhook target message "
            "secevent backoff totp step factor enrolment codes passkey "
            "compact jwk url dpop once client_assertion judgement"
        ).split()
    ),
}
IMPURE = set(
    "aiosqlite alembic asyncio litestar os random secrets settings socket sqlite3 sqlalchemy structlog time".split()
)
CLOCKS = {"now", "utcnow", "today"}

TOP = set(
    "pyproject.toml README.md Makefile LICENSE SECURITY.md CHANGELOG.md requirements*.txt app.py service.py edge.py "
    "settings.py cli.py events core api dashboard terminal tests bench docs clients deploy examples .ci .git .git* "
    ".dockerignore".split()
)


def sources(of: str) -> list[Path]:
    """The modules of a room, or the one module of this name."""
    room = ROOT / of
    return sorted(room.rglob("*.py")) if room.is_dir() else [one for one in [ROOT / f"{of}.py"] if one.exists()]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, inside functions and for types, too."""
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from events import family` imports events.family; `from events.fact import Fact` only events.fact.
            inner = [f"{module}.{alias.name}" for alias in node.names if is_module(f"{module}.{alias.name}")]
            yield from inner or [module]


def breaches(of: str, allowed: set[str]) -> list[str]:
    ours = set(MAY_IMPORT) | {"tests", "docs", "bench", ""}
    return [
        f"{dotted(path)} imports {name}"
        for path in sources(of)
        for name in imports(path)
        if name.split(".")[0] in ours - allowed
    ]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_rooms_to_its_right(room: str) -> None:
    assert [] == breaches(room, MAY_IMPORT[room])


def test_only_the_wiring_and_the_door_for_operators_import_the_settings() -> None:
    readers = {room for room in MAY_IMPORT for path in sources(room) for name in imports(path) if name == "settings"}
    assert readers <= {"service", "app", "cli", "terminal"}


def test_only_the_command_that_serves_imports_the_wiring() -> None:
    users = {dotted(path) for room in MAY_IMPORT for path in sources(room) for name in imports(path) if name == "app"}
    assert {"terminal.running"} == users


@pytest.mark.parametrize("door", ["api", "dashboard"])
def test_a_door_writes_through_core_only(door: str) -> None:
    assert [] == [f"{dotted(path)} imports {n}" for path in sources(door) for n in imports(path) if n in WRITES]


@pytest.mark.parametrize("module", sorted(name for name in PURE if is_module(name)))
def test_a_pure_module_knows_no_clock_no_chance_no_sql_and_no_settings(module: str) -> None:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    known = [name for name in imports(path) if name.split(".")[0] in IMPURE]
    clocks = [
        f"line {node.lineno}: {node.attr}"
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCKS
        and ast.unparse(node.value).endswith(("datetime", "date"))
    ]
    assert [] == known + clocks


@pytest.mark.parametrize("module", sorted(name for name in PURE if is_module(name)))
def test_a_pure_module_leans_on_pure_modules_only(module: str) -> None:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    ours = {name for name in imports(path) if name.split(".")[0] in MAY_IMPORT}
    assert set() == ours - PURE


def test_at_the_top_stands_only_what_the_design_names() -> None:
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()}
    names = [path.name for path in ROOT.iterdir()]
    assert [] == [name for name in names if not any(fnmatch(name, pattern) for pattern in TOP | ignored)]


def test_every_module_says_what_it_is() -> None:
    everywhere = [*MAY_IMPORT, "tests", "bench", "docs", "clients", "examples"]
    silent = [dotted(path) for room in everywhere for path in sources(room) if _text(path) and not _docstring(path)]
    assert [] == silent


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(_text(path)))


def test_an_import_of_any_shape_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "import api.auth\nfrom events import family\ndef f():\n    from settings import load\nfrom . import x\n"
    )
    assert {"api.auth", "events.family", "settings", "."} == set(imports(module))
