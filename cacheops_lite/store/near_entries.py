"""The entries of a near cache: values of a bounded size in all, and which versions each depends on."""

from __future__ import annotations

import datetime
import decimal
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# What can't be changed in place, so that all readers may have the same one.
_IMMUTABLE = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes),
        *(decimal.Decimal, uuid.UUID),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
    }
)
# What an entry takes besides its value, in bytes.
OVERHEAD = 1000
NEVER = float("-inf")


def size_if_immutable(value: Any, is_rows: bool) -> int | None:
    """Return the size of a value in bytes, None if it may contain what can be changed in place.

    The size is too large rather than too small: parts that occur twice are counted twice.  With `is_rows` the value is
    a list of rows that is not handed out itself.
    """
    size = sys.getsizeof(value)
    if type(value) in _IMMUTABLE:
        return size
    if type(value) is not tuple and not (is_rows and type(value) is list):
        return None
    for part in value:
        if type(part) in _IMMUTABLE:
            size += sys.getsizeof(part)
            continue
        own = size_if_immutable(part, is_rows=False)
        if own is None:
            return None
        size += own
    return size


# It counts the time during which the machine was suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return the time by which leases are counted, in seconds."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class NearOptions:
    """How a result is kept: its lease in seconds, whether writers wait for it, and whether it is a list of rows."""

    lease: float
    is_strict: bool
    is_rows: bool = False


class Lessor(Protocol):
    """A server that has versions of entries, see `near_node`; its lease counts from `leased_from`."""

    leased_from: float


@dataclass(slots=True)
class NearEntry:
    """A value in the near cache.

    `value` is decoded, or with `is_encoded` the payload that has to be decoded for each reader.  `size` is in bytes,
    `lease` and `compute_seconds` in seconds, `expires_at` on the clock of the near cache.  `version_keys` are the keys
    whose changes drop it; `registrations` those of the tables whose writers wait for it; `nodes` have these keys.
    """

    key: str
    value: Any
    is_encoded: bool
    size: int
    lease: float
    version_keys: tuple[str, ...]
    registrations: tuple[str, ...]
    nodes: tuple[Lessor, ...]
    compute_seconds: float = 0.0
    expires_at: float = 0.0
    # Whether it was read since it was last looked at for eviction.
    is_used: bool = field(default=False)
    # Whether it is in the near cache.
    is_kept: bool = field(default=False)


class NearEntries:
    """Entries by key; those that were not used recently are removed first.  `asked` are entries that are still checked.

    One thread at a time may change it; `get` may be called at any time.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, NearEntry] = OrderedDict()
        self._keys_of_version: dict[str, set[str]] = {}
        self.asked: dict[str, NearEntry] = {}
        self.size = 0
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> list[NearEntry]:
        """Return all entries."""
        return list(self._entries.values())

    def put(self, entry: NearEntry, max_size: int) -> None:
        """Add an entry, and remove others until all have at most `max_size` bytes."""
        self.drop(entry.key)
        entry.is_kept = True
        self._entries[entry.key] = entry
        self.size += entry.size
        for key in entry.version_keys:
            self._keys_of_version.setdefault(key, set()).add(entry.key)
        while self.size > max_size and self._entries:
            oldest = next(iter(self._entries.values()))
            # A second chance: moving each entry that is read would need a lock.
            if oldest.is_used and oldest is not entry:
                oldest.is_used = False
                self._entries.move_to_end(oldest.key)
            else:
                self.drop(oldest.key)

    def take_asked(self, entry: NearEntry) -> bool:
        """Remove an entry from `asked`; return whether it was there.  If not, it may be outdated."""
        return self.asked.get(entry.key) is entry and bool(self.asked.pop(entry.key))

    def drop(self, key: str) -> None:
        """Remove an entry, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.is_kept = False
        self.size -= entry.size
        for version_key in entry.version_keys:
            keys = self._keys_of_version.get(version_key)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys_of_version[version_key]

    def drop_dependents(self, version_key: str) -> None:
        """Remove all entries that depend on the version with this key, which has changed."""
        for key in list(self._keys_of_version.get(version_key, ())):
            self.drop(key)
        # With one node, the reply that is awaited shows the change.
        self._forget_asked_if(lambda entry: len(entry.nodes) > 1 and version_key in entry.version_keys)

    def drop_all_of(self, node: Lessor) -> None:
        """Remove all entries that depend on keys of a server."""
        self._drop_if(lambda entry: node in entry.nodes)

    def drop_registered(self, registrations: Sequence[str]) -> None:
        """Remove all entries that rely on one of these registrations."""
        lost = set(registrations)
        self._drop_if(lambda entry: not lost.isdisjoint(entry.registrations))

    def nodes(self) -> set[Lessor]:
        """Return the servers on whose keys entries depend."""
        return {node for entry in (*self.all(), *self.asked.values()) for node in entry.nodes}

    def _drop_if(self, condition: Callable[[NearEntry], bool]) -> None:
        for entry in self.all():
            if condition(entry):
                self.drop(entry.key)
        self._forget_asked_if(condition)

    def _forget_asked_if(self, condition: Callable[[NearEntry], bool]) -> None:
        for entry in list(self.asked.values()):
            if condition(entry):
                del self.asked[entry.key]
