"""Add this process's counters to those in Redis: a hash for each minute, kept for a day."""

from __future__ import annotations

import atexit
import time
from collections import Counter
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..observe import Counted, counters
from ..utils import after_fork_in_child
from . import keys
from .circuit_breaker import call
from .client import client_for, execute_many, raise_error
from .namespaces import prefix_of

# The time from the first count to its flush.
FLUSH_SECONDS = 10.0
KEEP_SECONDS = 24 * 3600
MINUTE_SECONDS = 60
# Fields of hashes are the parts of `Counted`, joined by a character that no label has.
_SEPARATOR = "\t"

_thread: Thread | None = None
# The prefix when the counts began: at the end of a test run, the databases have their usual names again.
_prefix: str | None = None
_lock = Lock()


def flush() -> None:
    """Send the counts to Redis.  Raises errors of Redis; the counts are then kept for the next time."""
    counts = counters.take()
    if not counts:
        return
    try:
        call(lambda: _send(counts))
    except BaseException:
        counters.put_back(counts)
        raise


def _send(counts: Counter[Counted]) -> None:
    prefix = counters_prefix() if _prefix is None else _prefix
    key = keys.counters_key(prefix, int(time.time()) // MINUTE_SECONDS)
    pipeline = client_for(key).pipeline(transaction=False)
    for counted, number in counts.items():
        pipeline.hincrby(key, _SEPARATOR.join(counted), number)
    pipeline.expire(key, KEEP_SECONDS + MINUTE_SECONDS)
    pipeline.execute()


def read_counts(minutes: int) -> list[tuple[int, Counter[Counted]]]:
    """Return the counts of each of the last `minutes`, oldest first, with the time at which each minute began.

    The times are in seconds since 1970.  Raises errors of Redis.
    """
    now = int(time.time()) // MINUTE_SECONDS
    wanted = range(now - minutes + 1, now + 1)
    requests: list[Any] = [(("HGETALL", keys.counters_key(counters_prefix(), minute)), None) for minute in wanted]
    replies: list[Any] = call(lambda: list(map(raise_error, execute_many(requests))))
    return [(minute * MINUTE_SECONDS, _decoded(reply)) for minute, reply in zip(wanted, replies, strict=True)]


def _decoded(reply: Any) -> Counter[Counted]:
    found: Counter[Counted] = Counter()
    # Redis replies with a map only to clients that use its newer protocol.
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    for name, number in pairs:
        with suppress(TypeError, ValueError):
            # Fields of another release are ignored.
            found[Counted(*name.decode().split(_SEPARATOR))] = int(number)
    return found


def counters_prefix() -> str:
    """Return the prefix of the counters: that of the simple cache, none if the prefix depends on the query."""
    try:
        return prefix_of()
    except ImproperlyConfigured:
        return ""


@counters.on_first_count
def start() -> None:
    """Note the prefix, and start the thread that flushes, unless it is running."""
    global _thread, _prefix
    _prefix = counters_prefix()
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = Thread(target=_flush_once, name="cacheops_lite.counters", daemon=True)
            _thread.start()


def _flush_once() -> None:
    global _thread
    time.sleep(FLUSH_SECONDS)
    with _lock:
        # Counts from now on start another thread.
        _thread = None
    with suppress(Exception):
        flush()


@after_fork_in_child
def _reset_in_child() -> None:
    global _thread, _lock
    _thread, _lock = None, Lock()


@atexit.register
def _flush_at_exit() -> None:
    with suppress(Exception):
        flush()
