"""Locks and fences that this process still has to release.

A release is recorded before it is sent.  If it is interrupted, a background thread repeats it until it succeeds.
Expired locks and fences are forgotten only if there are many: a server that hangs may set one when it resumes, long
after the request timed out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from .background_retry import BackgroundRetry
from .circuit_breaker import call_for_write, call_in_background
from .client import run_script
from .redis_errors import STORE_ERRORS
from .time_limit import Budget

# How many expired releases stay recorded.
MAX_PENDING = 1000
# {(key, token of its owner): when it expires, on the monotonic clock}
_pending: dict[tuple[str, str], float] = {}


def schedule(keys: Iterable[str], token: str, seconds: float) -> None:
    """Release the locks and fences at `keys` in the background, if `token` owns them; they expire after `seconds`."""
    _record(keys, token, seconds)
    _retry.start()


def release(keys: Iterable[str], token: str, seconds: float, budget: Budget | None = None) -> None:
    """Release them now, within `budget`; in the background if that fails.  Raises no error of Redis."""
    _record(keys, token, seconds)
    try:
        call_for_write(release_all, budget)
    except STORE_ERRORS:
        _retry.start()
    except BaseException:
        _retry.start()
        raise


def _record(keys: Iterable[str], token: str, seconds: float) -> None:
    expires_at = time.monotonic() + seconds
    for key in keys:
        _pending[key, token] = expires_at
    if len(_pending) > MAX_PENDING:
        for owned, expires_at in list(_pending.items())[:-MAX_PENDING]:
            if expires_at < time.monotonic():
                _pending.pop(owned, None)


def release_all() -> None:
    """Release all that is recorded.  Raises errors of Redis."""
    for key, token in list(_pending):
        run_script("release", [key], [token])
        _pending.pop((key, token), None)


_retry = BackgroundRetry(
    "cacheops_lite.store.pending_releases", lambda: call_in_background(release_all), lambda: not _pending
)
