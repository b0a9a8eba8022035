"""The Redis databases that a run uses: emptied before and after, and never anybody else's."""

from __future__ import annotations

import redis

from .peers import REDIS, REDIS_DATABASES

# In a database that benchmarks have filled, so that the next run may empty what one that crashed left.
MARK = "cacheops_lite:bench"


def claim() -> None:
    """Empty the databases.  Raises SystemExit if one of them holds something that is not a benchmark's."""
    for client in _clients():
        if client.dbsize() and not client.exists(MARK):
            number = client.connection_pool.connection_kwargs["db"]
            raise SystemExit(f"Redis database {number} is in use: empty it, or name others in BENCH_REDIS_DBS")
    for client in _clients():
        empty(client)


def empty(client: redis.Redis) -> None:
    """Empty one database of ours."""
    client.flushdb()
    client.set(MARK, 1)


def release() -> None:
    """Leave nothing behind."""
    for client in _clients():
        client.flushdb()


def _clients() -> list[redis.Redis]:
    return [redis.Redis.from_url(f"{REDIS}/{number}") for number in REDIS_DATABASES]
