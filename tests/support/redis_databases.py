"""Redis databases that no other test run on this machine uses, because tests empty them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.support import services

NUMBERS = range(9, 15)
# Contains the locks; no test run uses it for anything else.
LOCKS_DATABASE = 15
# The locks of a killed run expire after this time.
LOCK_SECONDS = 30
REFRESH_SECONDS = 5
REFRESH = """
if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('expire', KEYS[1], ARGV[2])
end
return 0
"""
RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('del', KEYS[1])
end
return 0
"""


def lock_key(number: int) -> str:
    return f"cacheops_lite:tests:{number}"


@contextmanager
def reserved(count: int) -> Iterator[list[str]]:
    """Reserve up to `count` databases for this process and yield their URLs.

    If ``TEST_REDIS_URL`` is set, or no Redis answers, yields the one URL of the settings.  Raises SystemExit if no
    database is free.
    """
    if "TEST_REDIS_URL" in os.environ or not services.redis_answers():
        yield [services.REDIS_URL]
        return
    root = services.REDIS_URL.rpartition("/")[0]
    client = redis.Redis.from_url(f"{root}/{LOCKS_DATABASE}")
    token = f"{os.getpid()}:{os.urandom(8).hex()}"
    taken: list[int] = []
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(REFRESH_SECONDS):
            for number in taken:
                client.eval(REFRESH, 1, lock_key(number), token, LOCK_SECONDS)

    thread = threading.Thread(target=refresh, name="refresh of Redis database locks", daemon=True)
    try:
        for number in NUMBERS:
            if len(taken) < count and client.set(lock_key(number), token, nx=True, ex=LOCK_SECONDS):
                taken.append(number)
        if not taken:
            raise SystemExit(
                f"other runs use all Redis databases from {NUMBERS[0]} to {NUMBERS[-1]}: wait, or set TEST_REDIS_URL"
            )
        thread.start()
        yield [f"{root}/{number}" for number in taken]
    finally:
        stop.set()
        for number in taken:
            client.eval(RELEASE, 1, lock_key(number), token)
