"""Background threads of the cache, which must not outlive their test: they log, send commands and end outages."""

from __future__ import annotations

from cacheops_lite.store import invalidator, pending_releases

# Longer than a pause and an attempt of a thread together.
PATIENCE_SECONDS = 10


def end_deliveries() -> None:
    """Forget what this process has not delivered or released, and wait for the threads that retry it."""
    if not (is_anything_owed() or _threads()):
        return
    forget_undelivered()
    for thread in _threads():
        thread.join(PATIENCE_SECONDS)


def forget_undelivered() -> None:
    """Forget what this process has not delivered or released."""
    with invalidator._delivery_lock, invalidator._state_lock:
        for owed in (invalidator._overdue, invalidator._in_delivery, invalidator._refused):
            owed.clear()
    pending_releases._pending.clear()


def is_anything_owed() -> bool:
    return bool(invalidator.is_overdue() or invalidator.is_refused() or pending_releases._pending)


def _threads():
    # That of refused invalidations ends without a command if there is none any more.
    retries = (invalidator._overdue_retry, pending_releases._retry)
    return [thread for retry in retries if (thread := retry._thread) is not None and thread.is_alive()]
