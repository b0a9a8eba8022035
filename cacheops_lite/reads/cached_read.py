"""Read through the cache: look the value up; on a miss take versions, read the source, and fill the cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from ..conf import settings
from ..observe import Decision, Reason, counters, decisions
from ..schema import RowsByDependency
from ..signals import cache_read
from ..store import (
    MISS,
    Budget,
    Lookup,
    call_or_default,
    fill_lock,
    invalidator,
    near,
    protocol,
    suppress_tolerated,
)
from ..utils import error_boundary
from ..writes import may_fill
from .cache_entry import CacheEntry, KeyedValue
from .hit_verification import verify_some
from .unstorable import is_too_large, note_unstorable

logger = logging.getLogger("cacheops_lite")


# Members of an enum are slow to look up before Python 3.12.
HIT, NEAR_HIT = Reason.HIT, Reason.NEAR_HIT


class CachedRead:
    """The steps of one read of a cache entry."""

    def __init__(self, entry: CacheEntry):
        self.entry = entry
        self._budget = Budget()
        self.value: Any = MISS
        self._lookup: Lookup | None = None
        self._lock: str | None = None
        # Why the result was not stored or not used, if the lookup does not say so.
        self._reason: Reason | None = None
        # What the published decision says of the fill.
        self._stored_size = 0
        self._fill_seconds = 0.0
        self._row_level: RowsByDependency | None = None
        self.compute_seconds = 0.0
        self.is_near = False

    def look_up(self) -> bool:
        """Look the entry up in the near cache, then in Redis; True if its `value` was found."""
        entry = self.entry
        if entry.near is not None and self._look_up_near():
            return True
        read = partial(protocol.read, entry.key, entry.version_set, entry.timeout)
        is_found = self.accept(call_or_default(read, None, self._budget))
        if is_found and entry.near is not None:
            near.keep(self.last_lookup, self.value, entry.near)
        return is_found

    def _look_up_near(self) -> bool:
        found = near.look_up(self.entry.key)
        if found is None:
            return False
        self.value = self._decoded(found.value) if found.is_encoded else found.value
        self.is_near = self.value is not MISS
        self.compute_seconds = found.compute_seconds
        return self.is_near

    def accept(self, lookup: Lookup | None) -> bool:
        """Take the result of a lookup, None if Redis is unreachable; True if it has a valid value.

        The lookup is ignored while an invalidation can't be delivered, as Redis may then have stale values.
        """
        lookup = None if invalidator.is_refused() else lookup
        self._lookup = lookup
        self.value = MISS if lookup is None else self._decoded(lookup.payload)
        return self.value is not MISS

    def acquire_lock(self) -> bool:
        """Take the fill lock, then look up again, as the previous holder may have filled the entry; False to wait.

        True also where waiting makes no sense: nothing will be stored, or Redis is unreachable.
        """
        if self._lookup is None or not self.entry.timeout or not may_fill(self.entry.databases):
            # Without a fill, waiting readers find no value: all would compute it, one after the other.
            return True
        # Set before the request is sent: however the request ends, `release_lock` releases the lock.
        token = self._lock = fill_lock.new_token(self.entry.key)
        otherwise: bool | None = None
        acquired = call_or_default(lambda: fill_lock.acquire_lock(self.entry.key, token), otherwise, self._budget)
        if acquired is None:
            # Redis is unreachable: the computed value is not stored.
            return True
        if not acquired:
            self._lock = None
            return False
        self.look_up()
        return True

    def reject(self) -> None:
        """Treat the value that was found as undecodable."""
        self.value, self._reason, self.is_near = MISS, Reason.UNDECODABLE, False

    def take_versions(self) -> None:
        """Create missing versions, before the source is read.

        Takes none if the source may show old or uncommitted data; then nothing is stored.
        """
        if self._lookup is not None:
            if may_fill(self.entry.databases):
                lookup = self._lookup
                create = partial(protocol.create_versions, lookup, self.entry.timeout)
                call_or_default(create, None, self._budget)
                if lookup.versions is None:
                    self._reason = Reason.FENCED
            else:
                self._reason = Reason.SNAPSHOT_PINNED
                self._lookup.versions = None

    def fill(self, storable: Any) -> None:
        """Store the result, unless a version has changed since `take_versions`."""
        lookup = self._lookup
        if lookup is None or lookup.versions is None:
            return
        if not may_fill(self.entry.databases):
            return
        started = time.perf_counter()
        key = self.entry.key
        if isinstance(storable, KeyedValue):
            key, storable = storable.key, storable.value
        try:
            payload = self.entry.dumps(storable)
            rows_by_dependency = None if self.entry.resolve_rows is None else self.entry.resolve_rows(storable)
        except Exception as error:
            note_unstorable(self.entry.fingerprint, self.entry.label, error)
            return
        if is_too_large(self.entry.fingerprint, self.entry.label, len(payload)):
            self._reason = Reason.TOO_LARGE
            return
        self._stored_size, self._row_level = len(payload), rows_by_dependency or {}
        lookup.compute_seconds = self.compute_seconds
        lookup.origin = b"" if self.entry.origin is None else self.entry.origin()
        # Readers that wait for the lock must find the value once it is released; without a lock no reply is awaited.
        is_awaited = bool(self._lock)
        fill = partial(protocol.fill, lookup, payload, self.entry.timeout, key, rows_by_dependency, is_awaited)
        call_or_default(fill, False, self._budget)
        self._fill_seconds = time.perf_counter() - started

    def release_lock(self) -> None:
        """Release the fill lock, if this read took it."""
        lock, self._lock = self._lock, None
        if lock:
            fill_lock.release_lock(self.entry.key, lock, self._budget)

    def record(self, started: float) -> None:
        """Count and publish what became of the read, which began at `started` (performance counter)."""
        entry, lookup = self.entry, self._lookup
        seconds = time.perf_counter() - started
        if self.is_near:
            reason = NEAR_HIT
        elif self.value is not MISS:
            reason = HIT
            assert lookup is not None
            self.compute_seconds = lookup.compute_seconds
        elif lookup is None:
            reason = Reason.REDIS_AWAY
        else:
            reason = self._reason or _reason_of(lookup)
        if counters.is_on:
            saved = self.compute_seconds - seconds if self.value is not MISS else self.compute_seconds
            counters.note(entry.sender or counters.label_of(entry.func), entry.operation, reason, "", saved)
        if decisions.is_observed():
            self._publish(reason, seconds)

    def _publish(self, reason: Reason, seconds: float) -> None:
        entry, lookup = self.entry, self._lookup
        found = lookup.payload if lookup is not None else MISS
        decisions.publish(
            Decision(
                operation=entry.operation,
                model=entry.sender,
                reason=reason,
                func=entry.func,
                key=entry.key,
                seconds=seconds,
                compute_seconds=self.compute_seconds,
                fill_seconds=self._fill_seconds,
                size=len(found) if isinstance(found, bytes) else self._stored_size,
                using=entry.databases[0] if entry.databases else "",
                dependencies=entry.version_set.carried_names
                + ([] if self._row_level is None else entry.version_set.row_level_names(self._row_level)),
                joined_tables=[each.table for each in entry.version_set.coarse],
                origin=lookup.origin if lookup is not None else b"",
            )
        )

    def send_signal(self) -> None:
        """Send ``cache_read``."""
        cache_read.send_robust(sender=self.entry.sender, func=self.entry.func, hit=self.value is not MISS)

    def _decoded(self, payload: Any) -> Any:
        if isinstance(payload, bytes):
            try:
                return self.entry.loads(payload)
            except Exception as error:
                # Another release stored it, or its class no longer exists: this counts as a miss.
                logger.warning("Can't decode the cached value of %s: %r", self.entry.label, error)
                self._reason = Reason.UNDECODABLE
        return MISS

    def stored_payload(self) -> Any:
        """Return the payload in Redis of the value that was found; MISS or None if there is none."""
        if self._lookup is not None:
            return self._lookup.payload
        return call_or_default(lambda: protocol.peek(self.entry.key, self.entry.version_set)[0].payload, None)

    @property
    def last_lookup(self) -> Lookup:
        """Return the last lookup."""
        assert self._lookup is not None
        return self._lookup


def _reason_of(lookup: Lookup) -> Reason:
    """Return why a lookup found no value."""
    if lookup.is_unsigned:
        return Reason.INVALID_SIGNATURE
    if lookup.is_undecodable:
        return Reason.UNDECODABLE
    return Reason.INVALIDATED if lookup.is_outdated else Reason.NOT_STORED


def read_through(entry: CacheEntry, compute: Callable[[], tuple[Any, Any]], revive: Callable[[Any], Any]) -> Any:
    """Return the cached result of `entry`, else the computed one.

    `compute` returns the result and what to store of it: MISS for nothing, a `KeyedValue` to store it under another key
    than was looked up.  `revive` makes a result of what was stored.
    """
    read = CachedRead(entry)
    started = time.perf_counter()
    try:
        if not read.look_up() and entry.lock:
            _lock_or_wait(read)
        read.send_signal()
        if read.value is not MISS:
            if settings.CACHEOPS_VERIFY:
                verify_some(entry, read.stored_payload, read.value, compute)
            try:
                return revive(read.value)
            except Exception as error:
                # Either the stored value is damaged, or the application's own code raises; then `compute` raises, too.
                error_boundary.log_failure(f"The cached value of {entry.label} can't be read", error)
                read.reject()
        read.take_versions()
        before = time.perf_counter()
        result, storable = compute()
        read.compute_seconds = time.perf_counter() - before
        if storable is not MISS:
            read.fill(storable)
        return result
    finally:
        read.release_lock()
        if decisions.are_recorded():
            read.record(started)


def _lock_or_wait(read: CachedRead) -> None:
    deadline = fill_lock.deadline()
    while not read.acquire_lock() and time.monotonic() < deadline:
        wait: Callable[[], Lookup | None] = partial(fill_lock.wait_for_value, read.last_lookup, deadline)
        if read.accept(call_or_default(wait, None)):
            return


async def aread_through(entry: CacheEntry, compute: Callable[[], Awaitable[tuple[Any, Any]]]) -> Any:
    """`read_through` for coroutines; the result is what was stored."""
    read = CachedRead(entry)
    started = time.perf_counter()
    try:
        if not await sync_to_async(read.look_up)() and entry.lock:
            await _alock_or_wait(read)
        await sync_to_async(read.send_signal)()
        if read.value is not MISS:
            return read.value
        await sync_to_async(read.take_versions)()
        before = time.perf_counter()
        result, storable = await compute()
        read.compute_seconds = time.perf_counter() - before
        if storable is not MISS:
            await sync_to_async(read.fill)(storable)
        return result
    finally:
        await sync_to_async(read.release_lock)()
        if decisions.are_recorded():
            await sync_to_async(read.record)(started)


async def _alock_or_wait(read: CachedRead) -> None:
    deadline = fill_lock.deadline()
    while not await sync_to_async(read.acquire_lock)() and time.monotonic() < deadline:
        lookup = None
        with suppress_tolerated():
            lookup = await fill_lock.wait_for_value_async(read.last_lookup, deadline)
        if read.accept(lookup):
            return
