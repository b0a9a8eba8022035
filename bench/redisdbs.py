"""The Redis databases that a run uses: emptied before and after, and never anybody else's."""

from __future__ import annotations

import os
import platform

import redis

from .peers import REDIS, REDIS_DATABASES

# In each database that a run uses, and whose it is: a run that crashed leaves it, and the next may empty what it left.
MARK = "cacheops_lite:bench"
# How workers know the run that they are of.
RUN = "BENCH_RUN"


class Disturbed(Exception):
    """Somebody else uses a database of ours."""


def claim() -> None:
    """Empty the databases.  Raises SystemExit if one of them is another's, or another run's."""
    os.environ[RUN] = f"{platform.node()} {os.getpid()}"
    for client in _clients():
        if client.dbsize() and not _is_left_over(client.get(MARK)):
            number = client.connection_pool.connection_kwargs["db"]
            raise SystemExit(f"Redis database {number} is in use: empty it, or name others in BENCH_REDIS_DBS")
    for client in _clients():
        client.flushdb()
        client.set(MARK, os.environ[RUN])


def empty(client: redis.Redis) -> None:
    """Empty one database of ours.  Raises Disturbed if it holds another's keys."""
    if client.dbsize():
        check(client)
    client.flushdb()
    client.set(MARK, os.environ[RUN])


def check(client: redis.Redis) -> None:
    """Raises Disturbed if somebody else has emptied the database meanwhile."""
    if client.get(MARK) != os.environ[RUN].encode():
        raise Disturbed("somebody else uses the Redis database: name others in BENCH_REDIS_DBS")


def release() -> None:
    """Leave nothing behind."""
    for client in _clients():
        client.flushdb()


def _is_left_over(mark: bytes | None) -> bool:
    """Its run is over: no such process is on this machine."""
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
