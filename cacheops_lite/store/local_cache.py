"""A cache in the process for rows that ``get()`` found by a point lookup, for profiles with ``local_get``.

Entries are dropped by writes of this process and by their timeout, but not by writes of other processes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Hashable
from threading import Lock
from typing import Any

from ..utils import after_fork_in_child
from .protocol import MISS

MAX_ENTRIES = 1000

# {key: (value, tables that it depends on, when it expires)}, the least recently used first.
_entries: OrderedDict[Hashable, tuple[Any, frozenset[str], float]] = OrderedDict()
_lock = Lock()
_invalidations = 0


@after_fork_in_child
def _reset_in_child() -> None:
    global _lock, _invalidations
    _lock = Lock()
    # Another thread of the parent may have been about to invalidate an entry: the child has no such thread.
    _entries.clear()
    _invalidations += 1


def get(key: Hashable) -> Any:
    """Return the value of `key`, else MISS.  Raises TypeError for a key that is not hashable."""
    with _lock:
        value, _, expires_at = _entries.get(key, (MISS, frozenset(), 0.0))
        if value is not MISS and time.monotonic() < expires_at:
            _entries.move_to_end(key)
            return value
        _entries.pop(key, None)
    return MISS


def invalidation_count() -> int:
    """Return the number to pass to `put` as `since`; to be read before the source is read."""
    return _invalidations


def put(key: Hashable, value: Any, tables: Collection[str], timeout: float, since: int) -> None:
    """Store `value` for `timeout` seconds, unless there was an invalidation `since` its source was read."""
    with _lock:
        if since == _invalidations:
            _entries[key] = value, frozenset(tables), time.monotonic() + timeout
            if len(_entries) > MAX_ENTRIES:
                _entries.popitem(last=False)


def invalidate(tables: Collection[str] | None = None) -> None:
    """Drop what depends on any of `tables`, or everything."""
    global _invalidations
    with _lock:
        _invalidations += 1
        for key, (_, own_tables, _) in list(_entries.items()):
            if tables is None or not own_tables.isdisjoint(tables):
                del _entries[key]
