"""The way of a read: the cache, else versions, then the source, then a fill."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from ..query import Capture
from ..schema import RowsByDependency
from ..signals import cache_read
from ..store import (
    MISS,
    Lookup,
    VersionSet,
    call_or_default,
    dumps_rows,
    fill_lock,
    invalidator,
    keys,
    loads_rows,
    protocol,
    run_script,
    send_script,
    suppress_outage,
)
from ..utils import LruMap, error_boundary
from ..writes import may_fill

logger = logging.getLogger("cacheops_lite")


@dataclass(slots=True)
class Target:
    """A result that may be cached: its key, what it rests on, for how many seconds and how it is kept."""

    key: str
    version_set: VersionSet
    databases: tuple[str, ...]
    timeout: int
    lock: bool = False
    sender: Any = None
    func: Callable[..., Any] | None = None
    dumps: Callable[[Any], bytes] = dumps_rows
    loads: Callable[[bytes], Any] = loads_rows
    # What the result, which is known by then, rests on of the basis' coarse dependencies.
    narrow: Callable[[Any], RowsByDependency] | None = None
    # The query without its values; None for functions.
    fingerprint: Hashable = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return getattr(self.func, "__qualname__", None) or repr(self.sender)


@dataclass(frozen=True, slots=True)
class Under:
    """What to store under another key than was looked up."""

    key: str
    value: Any


class Attempt:
    """One read of a target, step by step."""

    def __init__(self, target: Target):
        self.target = target
        self.value: Any = MISS
        self._lookup: Lookup | None = None
        self._lock: str | None = None

    def look(self) -> bool:
        """Look into the cache; True if `value` was there."""
        target = self.target
        return self.accept(call_or_default(lambda: protocol.read(target.key, target.version_set, target.timeout), None))

    def accept(self, lookup: Lookup | None) -> bool:
        """Take what a look found; None if Redis is away, or what it holds is not to be trusted."""
        lookup = None if invalidator.is_refused() else lookup
        self._lookup = lookup
        self.value = MISS if lookup is None else self._decoded(lookup)
        return self.value is not MISS

    def acquire(self) -> bool:
        """Become the one who computes it, or find that the one before has just done so; False to wait."""
        if self._lookup is None or not self.target.timeout or not may_fill(self.target.databases):
            # Nobody would get what is not kept: all would compute it, one after the other.
            return True
        # Noted before it is sent: however that ends, `close` releases it.
        token = self._lock = keys.fresh_token()
        otherwise: bool | None = None
        acquired = call_or_default(lambda: fill_lock.acquire_lock(self.target.key, token), otherwise)
        if acquired is None:
            # Redis is away: what is computed is not stored.
            return True
        if not acquired:
            self._lock = None
            return False
        self.look()
        return True

    def prepare(self) -> None:
        """Take versions, to be done before the source is read; none if what it says may be old or uncommitted."""
        if self._lookup is not None:
            if may_fill(self.target.databases):
                lookup = self._lookup
                call_or_default(lambda: protocol.create_versions(lookup, self.target.timeout), None)
            else:
                self._lookup.versions = None

    def fill(self, storable: Any) -> None:
        """Keep what the source said, unless it was overtaken."""
        lookup = self._lookup
        if lookup is None or lookup.versions is None:
            return
        if not may_fill(self.target.databases):
            return
        key, storable = (storable.key, storable.value) if isinstance(storable, Under) else (self.target.key, storable)
        try:
            payload = self.target.dumps(storable)
            rows_by_dependency = None if self.target.narrow is None else self.target.narrow(storable)
        except Exception as error:
            note_unstorable(self.target, error)
            return
        # Who waits for the lock is to find the value.
        run = run_script if self._lock else send_script
        call_or_default(
            lambda: protocol.fill(lookup, payload, self.target.timeout, key, rows_by_dependency, run), False
        )

    def close(self) -> None:
        """Let others compute."""
        lock, self._lock = self._lock, None
        if lock:
            fill_lock.release_lock(self.target.key, lock)

    def notify(self) -> None:
        """Tell receivers of ``cache_read``."""
        cache_read.send_robust(sender=self.target.sender, func=self.target.func, hit=self.value is not MISS)

    def _decoded(self, lookup: Lookup) -> Any:
        if isinstance(lookup.payload, bytes):
            try:
                return self.target.loads(lookup.payload)
            except Exception as error:
                # Another version's, or of a class that is gone: as good as not there.
                logger.warning("Can't decode the cached value of %s: %r", self.target.label, error)
        return MISS

    @property
    def missed(self) -> Lookup:
        """What the last look found, if not a value."""
        assert self._lookup is not None
        return self._lookup


# Queries whose results could not be stored, by fingerprint, and until when they are not tried again (monotonic).
_unstorable: LruMap[Hashable, float] = LruMap(500)
UNSTORABLE_SECONDS = 60.0


def note_unstorable(target: Target, error: Exception) -> None:
    """Have queries of the target's fingerprint read past the cache for a while; log why, once.

    Raises `error` again if it is an interrupt.
    """
    error_boundary.pass_interrupt(error)
    if target.fingerprint is not None:
        _unstorable.put(target.fingerprint, time.monotonic() + UNSTORABLE_SECONDS)
    if error_boundary.is_new(("unstorable", target.fingerprint or target.label)):
        logger.warning("Can't cache %s: it does not serialize (%s)", target.label, error_boundary.described(error))


def stored_rows(target: Target, capture: Capture) -> Any:
    """The rows of a capture that are to be stored, MISS if there are none."""
    if capture.error is not None:
        note_unstorable(target, capture.error)
    return MISS if capture.rows is None else capture.rows


def is_unstorable(fingerprint: Hashable) -> bool:
    """A result of a query of this fingerprint could not be stored a moment ago."""
    until = _unstorable.get(fingerprint)
    return until is not None and time.monotonic() < until


def read_through(target: Target, compute: Callable[[], tuple[Any, Any]], revive: Callable[[Any], Any]) -> Any:
    """The cached result of `target`, else the computed one.

    `compute` returns the result and what to store of it, MISS for nothing, `Under` for another key than was looked up;
    `revive` makes a result of what was stored.
    """
    attempt = Attempt(target)
    try:
        if not attempt.look() and target.lock:
            _lock_or_wait(attempt)
        attempt.notify()
        if attempt.value is not MISS:
            try:
                return revive(attempt.value)
            except Exception as error:
                # Either what is stored is damaged, or the application's own code raises: then so it does below.
                error_boundary.note_failure(f"What is stored of {attempt.target.label} can't be read", error)
        attempt.prepare()
        result, storable = compute()
        if storable is not MISS:
            attempt.fill(storable)
        return result
    finally:
        attempt.close()


def _lock_or_wait(attempt: Attempt) -> None:
    deadline = fill_lock.deadline()
    while not attempt.acquire() and time.monotonic() < deadline:
        wait: Callable[[], Lookup | None] = partial(fill_lock.wait_for_value, attempt.missed, deadline)
        if attempt.accept(call_or_default(wait, None)):
            return


async def aread_through(target: Target, compute: Callable[[], Awaitable[tuple[Any, Any]]]) -> Any:
    """`read_through` for coroutines; what was stored is the result."""
    attempt = Attempt(target)
    try:
        if not await sync_to_async(attempt.look)() and target.lock:
            await _alock_or_wait(attempt)
        await sync_to_async(attempt.notify)()
        if attempt.value is not MISS:
            return attempt.value
        await sync_to_async(attempt.prepare)()
        result, storable = await compute()
        if storable is not MISS:
            await sync_to_async(attempt.fill)(storable)
        return result
    finally:
        await sync_to_async(attempt.close)()


async def _alock_or_wait(attempt: Attempt) -> None:
    deadline = fill_lock.deadline()
    while not await sync_to_async(attempt.acquire)() and time.monotonic() < deadline:
        lookup = None
        with suppress_outage():
            lookup = await fill_lock.wait_for_value_async(attempt.missed, deadline)
        if attempt.accept(lookup):
            return
