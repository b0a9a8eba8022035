"""Process-local memory of the rows that the direct path of ``get()`` found, for profiles with ``local_get``.

It is dropped by this process's own invalidations, and bounded in size and time; of other processes' writes it hears
nothing.
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

# {key: (value, tables that it is of, when it expires)}, the least recently used first.
_entries: OrderedDict[Hashable, tuple[Any, frozenset[str], float]] = OrderedDict()
_lock = Lock()
_version = 0


@after_fork_in_child
def _renew_in_child() -> None:
    global _lock, _version
    _lock = Lock()
    # What the parent's other threads have yet to forget is not forgotten here.
    _entries.clear()
    _version += 1


def recall(key: Hashable) -> Any:
    """What is remembered under `key`, else MISS.  Raises TypeError for a key that can't be hashed."""
    with _lock:
        value, _, expires = _entries.get(key, (MISS, frozenset(), 0.0))
        if value is not MISS and time.monotonic() < expires:
            _entries.move_to_end(key)
            return value
        _entries.pop(key, None)
    return MISS


def version() -> int:
    """To be taken before the source is read, and given to `remember`."""
    return _version


def remember(key: Hashable, value: Any, tables: Collection[str], timeout: float, since: int) -> None:
    """Keep `value` for `timeout` seconds, unless something was forgotten `since` its source was read."""
    with _lock:
        if since == _version:
            _entries[key] = value, frozenset(tables), time.monotonic() + timeout
            if len(_entries) > MAX_ENTRIES:
                _entries.popitem(last=False)


def forget(tables: Collection[str] | None = None) -> None:
    """Drop what is of any of `tables`, or everything."""
    global _version
    with _lock:
        _version += 1
        for key, (_, of, _) in list(_entries.items()):
            if tables is None or not of.isdisjoint(tables):
                del _entries[key]
