"""The Redis databases of a run: emptied before and after, but never if another application uses them."""

from __future__ import annotations

import os
import platform

import redis

from .peers import REDIS, REDIS_DATABASES

# This key marks each database of a run.  The next run may empty a database whose mark is of a run that crashed.
MARK = "cacheops_lite:bench"
# The environment variable that passes the run's identity to its workers.
RUN = "BENCH_RUN"


class DatabaseInUse(Exception):
    """Another application uses a database of this run."""


def claim() -> None:
    """Empty the databases.  Raises SystemExit if another application or another run uses one of them."""
    os.environ[RUN] = f"{platform.node()} {os.getpid()}"
    for client in _clients():
        if client.dbsize() and not _is_left_over(client.get(MARK)):
            number = client.connection_pool.connection_kwargs["db"]
            raise SystemExit(f"Redis database {number} is in use: empty it, or name others in BENCH_REDIS_DBS")
    for client in _clients():
        client.flushdb()
        client.set(MARK, os.environ[RUN])


def empty(client: redis.Redis) -> None:
    """Empty one database.  Raises DatabaseInUse if another application has written to it."""
    if client.dbsize():
        check(client)
    client.flushdb()
    client.set(MARK, os.environ[RUN])


def check(client: redis.Redis) -> None:
    """Raise DatabaseInUse if another application has emptied the database."""
    if client.get(MARK) != os.environ[RUN].encode():
        raise DatabaseInUse("another application uses the Redis database: name others in BENCH_REDIS_DBS")


def release() -> None:
    """Empty the databases."""
    for client in _clients():
        client.flushdb()


def _is_left_over(mark: bytes | None) -> bool:
    """Return whether the run of the mark is over: no such process exists on this machine."""
    node, _, process = (mark or b"").decode().rpartition(" ")
    if node != platform.node():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _clients() -> list[redis.Redis]:
    return [redis.Redis.from_url(f"{REDIS}/{number}") for number in REDIS_DATABASES]
