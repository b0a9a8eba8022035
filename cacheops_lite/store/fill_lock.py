"""Locks: of many that miss at once, one computes.

A lock has a key of its own, so nobody ever reads one as a value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from . import keys, pending_releases
from .client import execute, note_confusion, run_script
from .protocol import MISS, Lookup, read

# Seconds after which a holder counts as dead, and for which others wait.
LOCK_TIMEOUT = 60


def acquire_lock(key: str, token: str) -> bool:
    """Take the lock of `key`, so that other misses wait; False if another one has it.

    The caller releases it, also if this raises: Redis may have executed it.
    """
    lock = keys.lock_key(key)
    reply = run_script("lock", [lock], [token, LOCK_TIMEOUT])
    if reply not in (None, token.encode()):
        # The reply to another request: this one may have taken the lock.
        note_confusion()
        pending_releases.owe([lock], token, LOCK_TIMEOUT)
    return reply == token.encode()


def release_lock(key: str, token: str) -> None:
    """Let others compute, if `token` holds the lock; soon, if Redis can't be reached."""
    pending_releases.release([keys.lock_key(key)], token, LOCK_TIMEOUT)


def deadline() -> float:
    """Until when to wait at most, on the monotonic clock: by then whoever holds the lock now has lost it."""
    return time.monotonic() + LOCK_TIMEOUT


def wait_for_value(missed: Lookup, until: float) -> Lookup:
    """Wait while somebody else computes what `missed` lacks, `until` then: the value, or MISS when there is none."""
    for pause in _pauses(until):
        lookup = _peek(missed)
        if lookup is not None:
            return lookup
        time.sleep(pause)
    return read(missed.key, missed.version_set)


async def await_value(missed: Lookup, until: float) -> Lookup:
    """`wait_for_value` for coroutines."""
    from asgiref.sync import sync_to_async

    for pause in _pauses(until):
        lookup = await sync_to_async(_peek)(missed)
        if lookup is not None:
            return lookup
        await asyncio.sleep(pause)
    return await sync_to_async(read)(missed.key, missed.version_set)


def _peek(missed: Lookup) -> Lookup | None:
    (locked,) = execute("MGET", keys.lock_key(missed.key))
    lookup = read(missed.key, missed.version_set)
    # What was there and yet missed does not decode: it is not what the holder computes.
    return None if locked and lookup.payload in (MISS, missed.payload) else lookup


def _pauses(until: float) -> Iterator[float]:
    pause = 0.005
    while (left := until - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 2, 0.1)
