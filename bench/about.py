"""What a run was on."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from .databases import DATABASES
from .peers import REDIS, Peer


def about(peers: list[Peer], database: str, rounds: int) -> dict[str, Any]:
    """Versions and machine."""
    server: Any = redis.Redis.from_url(REDIS).info("server")
    versions = [f"Django {version('Django')}", f"redis-py {version('redis')}"]
    versions += sorted({f"{peer.distribution} {version(peer.distribution)}" for peer in peers if peer.distribution})
    return {
        "database": f"{DATABASES[database].title} {database_version(database)}",
        "redis": f"Redis {server['redis_version']}",
        "rounds": rounds,
        "machine": f"{os.cpu_count()} x {processor()}, {platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def database_version(database: str) -> str:
    """Of the server or the library."""
    if database == "sqlite":
        return sqlite3.sqlite_version
    from django.db import connection

    return ".".join(map(str, connection.get_database_version()))


def processor() -> str:
    """Its name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
