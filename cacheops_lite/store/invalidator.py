"""The side of a write: invalidate what it changed, fence its tables, and deliver later what Redis could not take.

Invalidations that fail are kept in this process, and in its `spool`, from which another process takes them over if this
one ends.  They are delivered before the process reads from Redis again; until then a background thread retries.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, RLock

import redis
from django.core.exceptions import ImproperlyConfigured

from ..schema import tracked_columns
from ..utils import after_fork_in_child, error_boundary
from . import compression, keys, pending_releases, spool
from .background_retry import BackgroundRetry
from .circuit_breaker import call
from .client import execute, get_client, send_script
from .invalidation_script import NO_FENCE, invalidate_changes
from .outage_log import outages
from .redis_errors import is_away
from .write_set import MAX_CHANGES_PER_TABLE, WriteSet

# If more keys wait to be removed, all keys under their prefix are removed instead.
MAX_OVERDUE_KEYS = 1000
# A fence expires after this time, in case its writer died; a commit takes less.
FENCE_SECONDS = 30

# By prefix, the invalidations that could not be delivered, and those of them that a thread is delivering now.
_overdue: dict[str, WriteSet] = {}
_in_delivery: dict[str, WriteSet] = {}
# Invalidations that Redis refuses permanently, even as whole tables: until they succeed, reads bypass the cache.
_refused: dict[str, WriteSet] = {}
# `_state_lock` protects these dicts; the owner of `_delivery_lock` delivers.
_state_lock = Lock()
_delivery_lock = RLock()


@dataclass(slots=True)
class Fence:
    """A writer's token, and the tables that it fences, by prefix.

    Tables are recorded before the fence is sent, because its reply may be lost.  `confirmed` are the prefixes whose
    reply came: their tables are fenced, and all that the write set meets is invalidated.  `dropped` are the names of
    what was invalidated, if the write set has causes.  `is_noted` tells that the spool has what is committed without
    the fence.
    """

    token: str = field(default_factory=keys.fresh_token)
    tables: dict[str, list[str]] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    is_noted: bool = False


def invalidate_and_fence(write_sets: Mapping[str, WriteSet], fence: Fence) -> None:
    """Invalidate what the write sets meet and fence their tables, in one script call per prefix.

    Call it right before the commit.  `fence` records what was sent.  Raises errors of Redis.
    """
    for prefix, write_set in write_sets.items():
        if write_set.changes or write_set.tables:
            changes_by_table = write_set.by_table()
            fence.tables[prefix] = list(changes_by_table)
            dropped = fence.dropped if write_set.causes else None
            call(partial(invalidate_changes, prefix, changes_by_table, [fence.token, FENCE_SECONDS], dropped))
            fence.confirmed.add(prefix)


def note_unfenced(write_sets: Mapping[str, WriteSet], fence: Fence) -> None:
    """Keep in the spool what is about to be committed although `fence` failed, in case this process ends right after.

    The note ends with `release`, `invalidate` or `postpone` of the fence.  It stays if the outcome of the commit is
    unknown; then the invalidation is repeated after this process has ended.
    """
    fence.is_noted = True
    spool.note(write_sets)


def _end_note(fence: Fence | None) -> None:
    if fence is not None and fence.is_noted:
        fence.is_noted = False
        spool.drop_note()
        _forget_delivered()


def _forget_delivered() -> None:
    """Remove what the spool has, if all of it has been delivered."""
    with _state_lock:
        if not (_overdue or _in_delivery or _refused):
            spool.forget()


def release(fence: Fence, in_background: bool = False) -> None:
    """Release the fences of a writer that did not commit.  Raises no error of Redis.

    With `in_background` the writer does not wait for it: Redis did not answer a moment ago.
    """
    release_keys = pending_releases.schedule if in_background else pending_releases.release
    for prefix in fence.tables:
        release_keys(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)
    _end_note(fence)


def _fence_keys(prefix: str, fence: Fence) -> list[str]:
    return [keys.fence_key(prefix, table) for table in fence.tables[prefix]]


def invalidate(write_sets: Mapping[str, WriteSet], fence: Fence | None = None, dropped: set[str] | None = None) -> None:
    """Invalidate what the write sets meet, in one script call per prefix, and release `fence`.

    Where `fence` is confirmed, the invalidation has been done before the commit: it is only released.  The names of
    what is invalidated now are added to `dropped`.  If Redis cannot be reached, its error is raised, and the
    invalidation is delivered later (see `postpone`).
    """
    pending = {prefix: write_set for prefix, write_set in write_sets.items() if write_set}
    if not pending:
        return

    def deliver_after_overdue() -> None:
        deliver_overdue()
        _deliver(pending, fence, dropped)

    try:
        call(deliver_after_overdue)
    except BaseException:
        postpone(pending, fence)
        raise
    _end_note(fence)


def is_overdue() -> bool:
    """Return whether there are undelivered invalidations."""
    return bool(_overdue or _in_delivery)


def is_refused() -> bool:
    """Return whether Redis refuses an invalidation permanently, so that cached values cannot be trusted."""
    return bool(_refused)


def deliver_overdue() -> None:
    """Deliver the overdue invalidations, or wait until another thread has delivered them.

    Raises errors of Redis if it is unavailable.  An invalidation that fails for another reason would fail before each
    read, so its tables are invalidated as a whole instead.
    """
    if time.monotonic() >= spool.next_look:
        take_over_spooled()
    # Inlined `is_overdue`: each read calls this.
    if not (_overdue or _in_delivery):
        return
    with _delivery_lock:
        try:
            with _state_lock:
                _merge(_in_delivery, _overdue)
                _overdue.clear()
            _deliver(_in_delivery)
            _in_delivery.clear()
        except Exception as error:
            if is_away(error) or isinstance(error, (OSError, ImproperlyConfigured)):
                raise
            if not isinstance(error, redis.RedisError):
                error_boundary.reraise_interrupt(error)
            _drop_tables(_in_delivery, error)
            _in_delivery.clear()
        finally:
            with _state_lock:
                _merge(_overdue, _in_delivery)
                _in_delivery.clear()
            _forget_delivered()


def take_over_spooled() -> int:
    """Owe what dead processes of this host owe, and deliver it in the background unless a read does so before.

    Return how many write sets that are.
    """
    debts = spool.take_over()
    if debts.files:
        with _state_lock:
            _merge(_overdue, debts.write_sets)
            spool.keep(debts)
        _overdue_retry.start()
    return debts.records


def _drop_tables(write_sets: Mapping[str, WriteSet], reason: Exception) -> None:
    """Drop the table versions of all tables of the write sets with plain commands, which any Redis supports.

    What Redis refuses even then moves to `_refused`.  Raises errors of Redis if it is unavailable.
    """
    outages.report_failure(logging.ERROR, "An invalidation failed, so its tables are invalidated as a whole", reason)
    for prefix, write_set in write_sets.items():
        tables = (
            [keys.name_in_keys(table) for table in tracked_columns()]
            if write_set.everything
            else write_set.all_tables()
        )
        try:
            for table in tables:
                # A dependency index of another type makes each call fail.  If there is none, readers start a new
                # table version.
                for key_of in (keys.index_key, keys.fence_key, keys.table_version_key):
                    execute("UNLINK", key_of(prefix, table))
            for key in write_set.keys:
                execute("UNLINK", key)
        except redis.RedisError as error:
            if is_away(error):
                raise
            message = "Redis refuses to invalidate tables, so this process reads past the cache"
            outages.report_failure(logging.ERROR, message, error)
            with _state_lock:
                _merge(_refused, {prefix: write_set})
            _refused_retry.start()


def _deliver(write_sets: Mapping[str, WriteSet], fence: Fence | None = None, dropped: set[str] | None = None) -> None:
    for prefix, write_set in write_sets.items():
        if write_set.everything:
            clear(prefix)
        if write_set.keys:
            execute("UNLINK", *write_set.keys)
        if fence is not None and prefix in fence.confirmed:
            _release_after_commit(prefix, write_set, fence)
        elif write_set.changes or write_set.tables:
            invalidate_changes(prefix, write_set.by_table(), NO_FENCE, dropped)
            if fence is not None and prefix in fence.tables:
                pending_releases.release(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)


def _release_after_commit(prefix: str, write_set: WriteSet, fence: Fence) -> None:
    """Release the fence without waiting for the reply: while it exists, readers cannot create versions."""
    tables = fence.tables[prefix]
    names = [key(prefix, table) for key in (keys.fence_key, keys.table_version_key) for table in tables]
    # If this fails, it is unknown whether the fence lasted until now, so everything is invalidated again.
    send_script("release_fences", names, [fence.token], partial(postpone, {prefix: write_set}, fence))


def postpone(write_sets: Mapping[str, WriteSet], fence: Fence | None = None) -> None:
    """Deliver invalidations once Redis is available, before this process reads from it; also release `fence`."""
    with _state_lock:
        _merge(_overdue, write_sets)
        # Under the lock: what is recorded and not owed yet would be forgotten.
        spool.append(write_sets)
    _end_note(fence)
    _overdue_retry.start()
    if fence is not None:
        for prefix in write_sets.keys() & fence.tables.keys():
            pending_releases.schedule(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)


def _merge(into: dict[str, WriteSet], write_sets: Mapping[str, WriteSet]) -> None:
    for prefix, write_set in write_sets.items():
        merged = into.setdefault(prefix, WriteSet())
        # The causes were already published.
        merged.add(replace(write_set, causes=[]))
        if merged.weight > MAX_CHANGES_PER_TABLE:
            merged.coarsen()
        if len(merged.keys) > MAX_OVERDUE_KEYS:
            merged.everything, merged.keys = True, set()


_overdue_retry = BackgroundRetry(
    "cacheops_lite.store.invalidator", lambda: call(deliver_overdue), lambda: not is_overdue()
)


def _retry_refused() -> None:
    with _delivery_lock:
        _deliver(_refused)
        _refused.clear()
    _forget_delivered()


_refused_retry = BackgroundRetry("cacheops_lite.refused", lambda: call(_retry_refused), lambda: not _refused)


@after_fork_in_child
def _reset_in_child() -> None:
    """Deliver what the parent was delivering again: it is unknown whether the parent finishes."""
    global _delivery_lock, _state_lock
    _state_lock, _delivery_lock = Lock(), RLock()
    _merge(_overdue, _in_delivery)
    _in_delivery.clear()


@atexit.register
def _deliver_at_exit() -> None:
    with suppress(Exception):
        deliver_overdue()


def clear(prefix: str) -> None:
    """Remove all keys of this package under `prefix` but counters, and no others, without blocking Redis."""
    compression.forget()
    client = get_client()
    pattern = keys.escape_glob(prefix + keys.NAMESPACE) + keys.CACHED_KIND_PATTERN + "*"
    cursor = 0
    while True:
        cursor, found = client.scan(cursor, match=pattern, count=1000)
        if found:
            client.unlink(*found)
        if cursor == 0:
            break
