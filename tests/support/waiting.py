"""Wait for what other threads, processes and servers do."""

from __future__ import annotations

import time


def wait_until(condition, seconds=20):
    """Poll until the condition is fulfilled, for a while at most; return what it returned last."""
    until = time.monotonic() + seconds
    # It is not called again once it is fulfilled: it may be a command that succeeds only once.
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.01)
    return found
