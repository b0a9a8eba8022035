"""Locks: of many that miss at once, one computes.

A lock has a key of its own, so nobody ever reads one as a value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from . import keys
from .redis import get_client, run_script
from .store import MISS, Basis, Lookup, read

# Seconds after which a holder counts as dead, and for which others wait.
LOCK_TIMEOUT = 60


def acquire_lock(key: str) -> str | None:
    """Become the one who computes `key`; None when somebody else is."""
    token = keys.fresh_token()
    acquired = get_client().set(keys.lock_key(key), token, nx=True, ex=LOCK_TIMEOUT)
    return token if acquired else None


def release_lock(key: str, token: str) -> None:
    """Let others compute, if `token` still holds the lock."""
    run_script("unlock", [keys.lock_key(key)], [token])


def wait_for_value(key: str, basis: Basis) -> Lookup:
    """Wait while somebody else computes `key`, at most LOCK_TIMEOUT seconds: the value, or MISS when there is none."""
    for pause in _pauses():
        lookup = _peek(key, basis)
        if lookup is not None:
            return lookup
        time.sleep(pause)
    return read(key, basis)


async def await_value(key: str, basis: Basis) -> Lookup:
    """`wait_for_value` for coroutines."""
    from asgiref.sync import sync_to_async

    for pause in _pauses():
        lookup = await sync_to_async(_peek)(key, basis)
        if lookup is not None:
            return lookup
        await asyncio.sleep(pause)
    return await sync_to_async(read)(key, basis)


def _peek(key: str, basis: Basis) -> Lookup | None:
    locked = get_client().exists(keys.lock_key(key))
    lookup = read(key, basis)
    return None if locked and lookup.payload is MISS else lookup


def _pauses() -> Iterator[float]:
    deadline = time.monotonic() + LOCK_TIMEOUT
    pause = 0.005
    while time.monotonic() < deadline:
        yield pause
        pause = min(pause * 2, 0.1)
