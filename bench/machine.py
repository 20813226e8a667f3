"""What the measurements were taken on. Names no path and no host."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path


def described(folder: Path) -> list[tuple[str, str]]:
    """Name and value of what matters to the numbers; `folder` is where the databases were."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores for us"),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release().partition('-')[0]}"),
        ("file system", _file_system(folder)),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("SQLite", sqlite3.sqlite_version),
        ("libraries", ", ".join(f"{name} {version(name)}" for name in ("granian", "litestar", "sqlalchemy", "uvloop"))),
        ("load average before", f"{os.getloadavg()[0]:.1f}"),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _file_system(folder: Path) -> str:
    """Of the mount that holds the folder: the longest mount point that is a part of its path."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    holding = [(len(point), kind) for _, point, kind, *_ in mounts if folder.is_relative_to(point)]
    return max(holding)[1]
