"""Describe the environment of a run: versions and machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from .databases import DATABASES
from .peers import REDIS, Peer

ROOT = Path(__file__).parents[1]


def about(
    peers: list[Peer], database: str, rounds: str, title: str | None = None, redis_url: str = REDIS
) -> dict[str, Any]:
    """Return the versions and the machine, for the header of a report.

    `title` is that of the database, by default the one in DATABASES; `rounds` says in words what was run.
    """
    server: Any = redis.Redis.from_url(redis_url).info("server")
    others = sorted({f"{peer.distribution} {version(peer.distribution)}" for peer in peers if peer.distribution})
    return {
        "database": f"{title or DATABASES[database].title} {_database_version(database)}",
        "redis": f"Redis {server['redis_version']}",
        "rounds": rounds,
        "machine": f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": [_ours(), f"Django {version('Django')}", f"redis-py {version('redis')}", *others],
    }


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _ours() -> str:
    """Return this library's version, and the commit if it is a checkout."""
    from cacheops_lite import __version__

    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "cacheops_lite", "bench")
    except (OSError, subprocess.CalledProcessError):
        return f"cacheops_lite {__version__}"
    return f"cacheops_lite {__version__} ({commit}{', changed' if changed else ''})"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _database_version(database: str) -> str:
    if database == "sqlite":
        return sqlite3.sqlite_version
    from django.db import connection

    return ".".join(map(str, connection.get_database_version()))


def _processor() -> str:
    """Return the name of the processor, or of the architecture if the system does not provide one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
