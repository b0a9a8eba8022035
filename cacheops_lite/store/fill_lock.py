"""Locks that prevent cache stampedes: of several concurrent misses, one computes the value and the others wait for it.

A lock has a key of its own, so it is never read as a value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from . import keys, pending_releases
from .client import execute, last_epoch, reset_connections, run_script
from .protocol import MISS, Lookup, read
from .time_limit import Budget

# A lock expires after this time, so no process waits for longer.
LOCK_SECONDS = 60
# The pause between two polls for the value; it doubles with each.
FIRST_PAUSE_SECONDS = 0.005
MAX_PAUSE_SECONDS = 0.1


def new_token(key: str) -> str:
    """Return a token for the lock of `key`."""
    return keys.fresh_token() + last_epoch(keys.lock_key(key)).decode()


def acquire_lock(key: str, token: str) -> bool:
    """Take the lock of `key`, so that other misses wait.  Return False if another process has it.

    The caller releases it, also if this raises: Redis may have run the command.
    """
    lock = keys.lock_key(key)
    reply = run_script("lock", [lock], [token, LOCK_SECONDS])
    if reply not in (None, token.encode()):
        # The reply belongs to another request: this one may have taken the lock.
        reset_connections()
        pending_releases.schedule([lock], token, LOCK_SECONDS)
    return reply == token.encode()


def release_lock(key: str, token: str, budget: Budget | None = None) -> None:
    """Release the lock if `token` owns it; in the background if Redis cannot be reached within `budget`."""
    pending_releases.release([keys.lock_key(key)], token, LOCK_SECONDS, budget)


def deadline() -> float:
    """Return the time, on the monotonic clock, at which any lock taken by now has expired."""
    return time.monotonic() + LOCK_SECONDS


def wait_for_value(missed: Lookup, until: float) -> Lookup:
    """Wait until the owner of the lock has stored or given up the value that `missed` lacks, at most `until`.

    The result has the value, or MISS if there is none.
    """
    for pause in _pauses(until):
        lookup = _poll(missed)
        if lookup is not None:
            return lookup
        time.sleep(pause)
    return read(missed.key, missed.version_set)


async def wait_for_value_async(missed: Lookup, until: float) -> Lookup:
    """Do what `wait_for_value` does, in a coroutine."""
    from asgiref.sync import sync_to_async

    for pause in _pauses(until):
        lookup = await sync_to_async(_poll)(missed)
        if lookup is not None:
            return lookup
        await asyncio.sleep(pause)
    return await sync_to_async(read)(missed.key, missed.version_set)


def _poll(missed: Lookup) -> Lookup | None:
    (owner,) = execute("MGET", keys.lock_key(missed.key))
    # A lock of another epoch was brought back by an old snapshot.
    locked = owner is not None and owner[keys.TOKEN_LENGTH :] == last_epoch(keys.lock_key(missed.key))
    lookup = read(missed.key, missed.version_set)
    # The reader missed `missed.payload` because it could not decode it: it is not the value that is being computed.
    return None if locked and lookup.payload in (MISS, missed.payload) else lookup


def _pauses(until: float) -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while (left := until - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 2, MAX_PAUSE_SECONDS)
