"""The side of a write: invalidate what it changed, fence its tables, and deliver later what Redis could not take.

Invalidations that fail are kept in this process, and in its `spool`, from which another process takes them over if this
one ends.  They are delivered before the process reads from Redis again; until then a background thread retries.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock, RLock

import redis
from django.core.exceptions import ImproperlyConfigured

from ..schema import tracked_columns
from ..utils import after_fork_in_child, error_boundary
from . import keys, pending_releases, spool, spool_watch
from .background_retry import BackgroundRetry
from .circuit_breaker import call_for_write, call_in_background
from .clearing import clear
from .client import execute, unlink
from .epoch_calls import call_for_tables
from .failure_kinds import DeliveryInProgressError, FailureKind, is_temporary, kind_of
from .fence import Fence
from .fence_release import release_after_commit
from .invalidation_script import NO_FENCE, invalidate_changes
from .near_leases import LeaseWait
from .outage_log import outages
from .time_limit import Budget, run_without_limit, seconds_left
from .write_set import AnyChange, WriteSet, merge

# A fence expires after this time, in case its writer died; a commit takes less.
FENCE_SECONDS = 30
# How long a call waits at most for another thread that delivers.
MAX_WAIT_SECONDS = 10.0

# By prefix, the invalidations that could not be delivered, and those of them that a thread is delivering now.
_overdue: dict[str, WriteSet] = {}
_in_delivery: dict[str, WriteSet] = {}
# Invalidations that Redis refuses permanently, even as whole tables: until they succeed, reads bypass the cache.
_refused: dict[str, WriteSet] = {}
# `_state_lock` protects these dicts; the owner of `_delivery_lock` delivers.
_state_lock = Lock()
_delivery_lock = RLock()


def invalidate_and_fence(write_sets: Mapping[str, WriteSet], fence: Fence) -> None:
    """Invalidate what the write sets meet and fence their tables, in one script call per prefix or a few.

    Call it right before the commit.  `fence` records what was sent.  Waits for near caches.  Raises errors of Redis.
    """
    for prefix, write_set in write_sets.items():
        if write_set.changes or write_set.tables:
            changes_by_table = write_set.by_table()
            fence.tables[prefix] = list(changes_by_table)
            dropped = fence.dropped if write_set.causes else None
            run = partial(_invalidate_with_fence, prefix, changes_by_table, fence, dropped)
            key = keys.fence_key(prefix, fence.tables[prefix][0])
            call_for_write(partial(call_for_tables, run, key), fence.budget)
            fence.confirmed.add(prefix)
    fence.lease_wait.wait()


def _invalidate_with_fence(
    prefix: str,
    changes_by_table: dict[str, list[AnyChange] | None],
    fence: Fence,
    dropped: set[str] | None,
    epoch: bytes | None,
) -> None:
    if epoch is not None and fence.epoch != epoch:
        # Fences of another epoch do not count: what was fenced on that server is invalidated again at the release.
        fence.epoch, fence.token = epoch, keys.fresh_token() + epoch.decode()
    invalidate_changes(prefix, changes_by_table, [fence.token, FENCE_SECONDS], dropped, epoch, fence.lease_wait)


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
    for prefix in fence.tables:
        if in_background:
            pending_releases.schedule(fence.keys_under(prefix), fence.token, FENCE_SECONDS)
        else:
            pending_releases.release(fence.keys_under(prefix), fence.token, FENCE_SECONDS, fence.budget)
    _end_note(fence)


def invalidate(write_sets: Mapping[str, WriteSet], fence: Fence | None = None, dropped: set[str] | None = None) -> None:
    """Invalidate what the write sets meet, in one script call per prefix or a few, and release `fence`.

    Where `fence` is confirmed, the invalidation has been done before the commit: it is only released.  The names of
    what is invalidated now are added to `dropped`.  If Redis cannot be reached, its error is raised, and the
    invalidation is delivered later (see `postpone`).  What fails by a defect is invalidated coarsely instead.
    """
    pending = {prefix: write_set for prefix, write_set in write_sets.items() if write_set}
    if not pending:
        return
    # Not before the commit, while rows are locked.
    if time.monotonic() >= spool.next_look:
        error_boundary.call_or_default("A write can't take over what dead processes owe", take_over_spooled, 0)
    budget = Budget() if fence is None else fence.budget
    lease_wait = LeaseWait()
    try:
        call_for_write(partial(_deliver, pending, fence, dropped, lease_wait), budget)
        lease_wait.wait()
    except BaseException as error:
        postpone(pending, fence)
        if not (isinstance(error, redis.RedisError) and kind_of(error) is FailureKind.DEFECT):
            raise
        call_for_write(deliver_overdue, budget)
        # Nothing else removes the values of the simple cache.
        if is_refused() or any(write_set.everything for write_set in pending.values()):
            raise
    _end_note(fence)


def is_overdue() -> bool:
    """Return whether there are undelivered invalidations."""
    return bool(_overdue or _in_delivery)


def owes(tables: Iterable[str]) -> bool:
    """Return whether an undelivered invalidation concerns one of these tables."""
    with _state_lock:
        owed = [*_overdue.values(), *_in_delivery.values()]
        return any(each.everything or not each.all_tables().isdisjoint(tables) for each in owed)


def is_refused() -> bool:
    """Return whether Redis refuses an invalidation permanently, so that cached values cannot be trusted."""
    return bool(_refused)


def deliver_overdue() -> None:
    """Deliver the overdue invalidations, or wait until another thread has delivered them.

    Raises errors of Redis if it is unavailable, and DeliveryInProgressError if that thread takes too long.  An
    invalidation that fails for another reason would fail before each read, so its tables are invalidated as a whole
    instead.
    """
    if time.monotonic() >= spool.next_look:
        take_over_spooled()
    # Inlined `is_overdue`: each read calls this.
    if not (_overdue or _in_delivery):
        return
    # Bounded even without a limit: the other thread may wait for a Redis that does not answer.
    if not _delivery_lock.acquire(timeout=max(0, min(seconds_left(), MAX_WAIT_SECONDS))):
        raise DeliveryInProgressError("invalidations are still being delivered by another thread")
    try:
        _deliver_all()
    finally:
        _delivery_lock.release()


def _deliver_all() -> None:
    """Deliver the overdue invalidations; the caller owns `_delivery_lock`."""
    try:
        with _state_lock:
            merge(_in_delivery, _overdue)
            _overdue.clear()
        _deliver(_in_delivery)
        _in_delivery.clear()
    except Exception as error:
        if isinstance(error, (OSError, ImproperlyConfigured)):
            raise
        if not isinstance(error, redis.RedisError):
            error_boundary.reraise_interrupt(error)
        elif is_temporary(error):
            raise
        _drop_tables(_in_delivery, error)
        _in_delivery.clear()
    finally:
        with _state_lock:
            merge(_overdue, _in_delivery)
            _in_delivery.clear()
        _forget_delivered()


def take_over_spooled() -> int:
    """Owe what dead processes of this host owe, and deliver it in the background unless a read does so before.

    From now on, look for it while this process is idle as well.  Return how many write sets were found.
    """
    spool_watch.start(take_over_spooled)
    debts = spool.take_over()
    if debts.files:
        with _state_lock:
            merge(_overdue, debts.write_sets)
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
            if is_temporary(error):
                raise
            message = "Redis refuses to invalidate tables, so this process reads past the cache"
            outages.report_failure(logging.ERROR, message, error)
            with _state_lock:
                merge(_refused, {prefix: write_set})
            _refused_retry.start()


def _deliver(
    write_sets: Mapping[str, WriteSet],
    fence: Fence | None = None,
    dropped: set[str] | None = None,
    lease_wait: LeaseWait | None = None,
) -> None:
    lease_wait = lease_wait or LeaseWait()
    for prefix, write_set in write_sets.items():
        if write_set.everything:
            run_without_limit(partial(clear, prefix))
            lease_wait.add_longest()
        if write_set.keys:
            unlink(list(write_set.keys))
        if fence is not None and prefix in fence.confirmed:
            release_after_commit(prefix, fence, partial(postpone, {prefix: write_set}, fence))
        elif write_set.changes or write_set.tables:
            changes_by_table = write_set.by_table()
            run = partial(invalidate_changes, prefix, changes_by_table, NO_FENCE, dropped, lease_wait=lease_wait)
            call_for_tables(run, keys.fence_key(prefix, next(iter(changes_by_table))))
            if fence is not None and prefix in fence.tables:
                pending_releases.release(fence.keys_under(prefix), fence.token, FENCE_SECONDS, fence.budget)


def postpone(write_sets: Mapping[str, WriteSet], fence: Fence | None = None) -> None:
    """Deliver invalidations once Redis is available, before this process reads from it; also release `fence`."""
    with _state_lock:
        merge(_overdue, write_sets)
        # Under the lock: what is recorded and not owed yet would be forgotten.
        spool.append(write_sets)
    _end_note(fence)
    _overdue_retry.start()
    if fence is not None:
        for prefix in write_sets.keys() & fence.tables.keys():
            pending_releases.schedule(fence.keys_under(prefix), fence.token, FENCE_SECONDS)


_overdue_retry = BackgroundRetry(
    "cacheops_lite.store.invalidator", lambda: call_in_background(deliver_overdue), lambda: not is_overdue()
)


def _retry_refused() -> None:
    with _delivery_lock:
        _deliver(_refused)
        _refused.clear()
    _forget_delivered()


_refused_retry = BackgroundRetry(
    "cacheops_lite.refused", lambda: call_in_background(_retry_refused), lambda: not _refused
)


@after_fork_in_child
def _reset_in_child() -> None:
    """Deliver what the parent was delivering again: it is unknown whether the parent finishes."""
    global _delivery_lock, _state_lock
    _state_lock, _delivery_lock = Lock(), RLock()
    merge(_overdue, _in_delivery)
    _in_delivery.clear()


@atexit.register
def _deliver_at_exit() -> None:
    with suppress(Exception):
        deliver_overdue()
