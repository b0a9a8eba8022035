"""The Redis databases that a run uses: emptied before and after, and never anybody else's."""

from __future__ import annotations

import os
import platform

import redis

from .peers import REDIS, REDIS_DATABASES

# In each database that a run uses, and whose it is: a run that crashed leaves it, and the next may empty what it left.
MARK = "cacheops_lite:bench"


class Disturbed(Exception):
    """Somebody else has emptied a database of ours meanwhile."""


def claim() -> None:
    """Empty the databases.  Raises SystemExit if one of them is another's, or another run's."""
    for client in _clients():
        if client.dbsize() and not _is_left_over(client.get(MARK)):
            number = client.connection_pool.connection_kwargs["db"]
            raise SystemExit(f"Redis database {number} is in use: empty it, or name others in BENCH_REDIS_DBS")
    for client in _clients():
        _empty(client, f"{platform.node()} {os.getpid()}".encode())


def empty(client: redis.Redis) -> None:
    """Empty one database of ours.  Raises Disturbed."""
    _empty(client, check(client))


def check(client: redis.Redis) -> bytes:
    """The mark, which is still there.  Raises Disturbed."""
    mark = client.get(MARK)
    if mark is None:
        raise Disturbed("somebody else has emptied the Redis database meanwhile")
    return mark  # type: ignore[return-value]


def release() -> None:
    """Leave nothing behind."""
    for client in _clients():
        client.flushdb()


def _empty(client: redis.Redis, mark: bytes) -> None:
    client.flushdb()
    client.set(MARK, mark)


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
