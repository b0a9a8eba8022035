"""Locks, and holds of tables, that this process has to release.

A release is noted before it is sent, so that whatever interrupts it, it is done: by a thread in the background, until
the lock or hold expires by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from .background_retry import BackgroundRetry
from .circuit_breaker import EXPECTED, call
from .client import run_script

# By key and the token that it is held with: when it expires by itself, on the monotonic clock.
_owed: dict[tuple[str, str], float] = {}


def owe(keys: Iterable[str], token: str, seconds: float) -> None:
    """Have the locks and holds at `keys` released soon, if `token` still holds them; after `seconds` they expire."""
    _note(keys, token, seconds)
    _courier.start()


def release(keys: Iterable[str], token: str, seconds: float) -> None:
    """The same, now if that is possible.  Raises nothing that Redis does."""
    _note(keys, token, seconds)
    try:
        call(deliver)
    except EXPECTED:
        _courier.start()
    except BaseException:
        _courier.start()
        raise


def _note(keys: Iterable[str], token: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    for key in keys:
        _owed[key, token] = until


def deliver() -> None:
    """Release all that is owed.  Raises what Redis does."""
    for (key, token), until in list(_owed.items()):
        if time.monotonic() < until:
            run_script("release", [key], [token])
        _owed.pop((key, token), None)


_courier = BackgroundRetry("cacheops_lite.store.pending_releases", lambda: call(deliver), lambda: not _owed)
