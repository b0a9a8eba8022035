"""The services that this run uses: those named by the environment, else those found on their standard ports."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

IN_CI = bool(os.environ.get("CI"))
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
IS_CLUSTER = "+cluster" in REDIS_URL
# The class of clients for that server; empty for the default.
CLIENT_CLASS = os.environ.get("TEST_CLIENT_CLASS") or None
DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
# Whether keys have the names of databases, as by default.
HAS_DATABASE_NAMES = os.environ.get("TEST_DATABASE_NAMES") == "on"


# For tests that look at commands or keys of one server.
on_one_server = pytest.mark.skipif(IS_CLUSTER, reason="it looks at one server")


def answers(host: str, port: int) -> bool:
    """Return whether a server listens on the port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def redis_answers() -> bool:
    import redis

    if IS_CLUSTER:
        place = urlsplit(REDIS_URL)
        return answers(place.hostname or "127.0.0.1", place.port or 6379)
    try:
        return bool(redis.Redis.from_url(REDIS_URL, socket_connect_timeout=1).ping())
    except redis.RedisError:
        return False


def database_settings(name: str, role: str = "") -> dict:
    """Return Django's settings for the database that this run uses."""
    if name == "sqlite":
        path = Path(tempfile.gettempdir()) / f"cacheops_lite_test_{os.getpid()}{role}.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path),
            "TEST": {"NAME": str(path)},
            # No test stops the machine, so nothing has to be written to the disk at once.
            "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous=OFF"},
        }
    if name == "postgresql":
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": os.environ.get("TEST_POSTGRESQL_USER", "root"),
            "PASSWORD": os.environ.get("TEST_POSTGRESQL_PASSWORD", ""),
            "HOST": os.environ.get("TEST_POSTGRESQL_HOST", "127.0.0.1"),
            "PORT": os.environ.get("TEST_POSTGRESQL_PORT", "5432"),
            "TEST": {"NAME": f"cacheops_lite_test_{os.getpid()}"},
        }
    if name == "mariadb":
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "test",
            "USER": os.environ.get("TEST_MARIADB_USER", "root"),
            "PASSWORD": os.environ.get("TEST_MARIADB_PASSWORD", ""),
            "HOST": os.environ.get("TEST_MARIADB_HOST", "localhost"),
            "TEST": {"NAME": f"cacheops_lite_test_{os.getpid()}"},
        }
    raise ValueError(f"TEST_DATABASE is {name!r}; it should be sqlite, postgresql or mariadb")
