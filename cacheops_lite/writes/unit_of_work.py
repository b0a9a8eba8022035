"""The unit of work: what a connection's transaction wrote, kept until the transaction is committed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..store import Fence, WriteSet, keep_compared, postpone, release, split_by_prefix
from .commit_callbacks import (
    CallbackReferences,
    CommitCallback,
    live_callbacks,
    pending_write_sets,
    register,
    registered,
)
from .invalidation_error import InvalidationError
from .operation_scope import OperationScope
from .session_state import SnapshotRequests, TemporaryTables, UnmanagedTransaction, pins_snapshots
from .write_barrier import deliver, deliver_logging_errors, invalidate_and_fence


class UnitOfWork:
    """What a connection has written and not yet committed, and whether it may use the cache meanwhile.

    Write sets are kept by key prefix.
    """

    def __init__(self, connection: BaseDatabaseWrapper):
        self._connection = weakref.proxy(connection)
        self._callbacks: CallbackReferences = []
        # The number of atomic blocks to ignore: see `testing.as_autocommit`.
        self.hidden_blocks = 0
        # Invalidations that were sent already and are sent again when the transaction ends.  Django does not announce
        # that end where autocommit is off, nor does it know of commits by statements within an atomic block.
        self._repeat_at_end: dict[str, WriteSet] = {}
        # Within an atomic block in which a statement may have committed.
        self._may_be_committed = False
        # While a commit is under way.
        self._fence: Fence | None = None
        self.unmanaged_transaction = UnmanagedTransaction(self._connection)
        self.snapshots = SnapshotRequests(self._connection)
        self.temporary_tables = TemporaryTables(self._connection)
        # Operations in progress, the innermost last.
        self.scopes: list[OperationScope] = []

    @property
    def scope(self) -> OperationScope | None:
        """The innermost operation in progress."""
        return self.scopes[-1] if self.scopes else None

    @contextmanager
    def open_scope(self, scope: OperationScope) -> Iterator[None]:
        """Let `scope` claim statements within this context."""
        self.scopes.append(scope)
        try:
            yield
        finally:
            self.scopes.remove(scope)

    def claiming(self, verb: str, *tables: str) -> AbstractContextManager[None]:
        """Claim statements of `verb` on `tables` within this context: the caller records what they change."""
        return self.open_scope(OperationScope(verb, tables))

    @property
    def using(self) -> str:
        """The alias of the connection's database."""
        return self._connection.alias

    @property
    def vendor(self) -> str:
        """The vendor of the database, such as ``"postgresql"``."""
        return self._connection.vendor

    @property
    def in_transaction(self) -> bool:
        blocks = self._connection.atomic_blocks
        if blocks or self.hidden_blocks:
            return len(blocks) > self.hidden_blocks
        return not self._autocommit

    @property
    def is_manual(self) -> bool:
        """Whether autocommit is off outside of any atomic block: Django does not announce the commit."""
        return not self._connection.in_atomic_block and not self._autocommit

    @property
    def _autocommit(self) -> bool:
        # Not get_autocommit(), which connects to the database first: a cache hit should not need a connection.
        connection = self._connection
        if self.unmanaged_transaction.is_begun_by_statement:
            return False
        return connection.autocommit if connection.connection else connection.settings_dict["AUTOCOMMIT"]

    @property
    def is_dirty(self) -> bool:
        """Whether reads may see what must not be cached.

        These are own writes that are not committed or not invalidated yet, and temporary tables in place of models'.
        """
        self.deliver_finished_blocks()
        return (
            self.is_manual
            or self.temporary_tables.hide_model_tables
            or any(callback() is not None for callback in self._callbacks)
        )

    @property
    def pins_snapshot(self) -> bool:
        """Whether reads may see a state older than the versions that were read before them."""
        return self.in_transaction and (self.snapshots.is_requested or pins_snapshots(self._connection))

    def mark_dirty(self) -> None:
        """Note that the transaction wrote something."""
        if self.in_transaction and not self.is_manual:
            self._callback()

    def record(self, write_set: WriteSet, raise_errors: bool = False) -> None:
        """Send `write_set` once the transaction is committed; in autocommit, send it now.

        The database then has the write already, so errors of Redis are logged.  With `raise_errors`, for invalidation
        that the application asked for, they are raised instead where it is sent now.  Either way it is retried until it
        succeeds.
        """
        if not write_set:
            return
        keep_compared(self._connection.alias)
        if not self.in_transaction or self.is_manual:
            self.deliver_finished_blocks()
            parts = split_by_prefix(write_set)
            if self.is_manual:
                _merge(self._repeat_at_end, parts)
            (deliver if raise_errors else deliver_logging_errors)(parts)
        else:
            callback = self._callback()
            # The prefix of now: at the commit CACHEOPS_PREFIX may return another one.
            parts = split_by_prefix(write_set)
            for prefix, part in parts.items():
                callback.write_sets.setdefault(prefix, WriteSet()).add(part)
            if self._may_be_committed:
                _merge(self._repeat_at_end, parts)

    def deliver_finished_blocks(self) -> None:
        """Send what was written in atomic blocks that have ended inside of hidden ones.

        Django keeps their callbacks until the hidden blocks end.
        """
        if self._callbacks and not self.in_transaction and self._connection.in_atomic_block:
            self.after_commit()

    def before_commit(self) -> None:
        """Invalidate and fence what is about to be committed: no reader then finds the old state in the cache.

        Raises InvalidationError with ``CACHEOPS_STRICT``: the caller then rolls the transaction back.
        """
        pending = self._pending()
        _merge(pending, self._repeat_at_end)
        self._invalidate_and_fence(pending)

    @property
    def owes_at_end(self) -> bool:
        """Whether something that was sent already has to be fenced where a transaction may end."""
        return bool(self._repeat_at_end) and self._fence is None

    def before_possible_commit(self) -> None:
        """Do the same where a transaction outside of atomic blocks may end."""
        if self.owes_at_end:
            self._invalidate_and_fence(self._repeat_at_end)

    def _invalidate_and_fence(self, write_sets: dict[str, WriteSet]) -> None:
        """Invalidate `write_sets` and fence their tables; release the fence if that fails."""
        self._fence = fence = Fence() if write_sets else None
        if fence is not None:
            try:
                invalidate_and_fence(write_sets, fence)
            except BaseException as error:
                self._fence = None
                # The reply may have been lost, so the fence may be there although it is not confirmed.
                release(fence, in_background=isinstance(error, InvalidationError))
                raise

    def after_commit(self) -> None:
        """Send what all live callbacks have recorded, at once."""
        pending, fence = self._pending(), self._take_fence()

        def finish() -> None:
            for callback in live_callbacks(self._callbacks):
                callback.write_sets = {}
            self._callbacks.clear()
            deliver_logging_errors(pending, fence)

        _deliver_or_postpone(finish, pending, fence)

    def after_failed_commit(self, is_finished: Callable[[], bool]) -> None:
        """Send everything after a commit whose outcome is unknown.

        `is_finished` returns whether the commit is surely not under way any more.
        """
        pending, self._repeat_at_end = self._repeat_at_end, {}
        _merge(pending, self._pending())
        self._may_be_committed = False
        fence = self._take_fence()
        if pending:
            # A database that does not answer may still be committing: the fence then stays until it expires.
            _deliver_or_postpone(lambda: deliver_logging_errors(pending, fence if is_finished() else None), pending)

    def _pending(self) -> dict[str, WriteSet]:
        return pending_write_sets(live_callbacks(self._callbacks))

    def _take_fence(self) -> Fence | None:
        fence, self._fence = self._fence, None
        return fence

    def after_possible_commit(self) -> None:
        """Send everything now, after a statement that may have committed without Django's knowledge.

        It cannot be rolled back any more.  Within an atomic block all of it is sent again at the end of the block,
        whether that commits or rolls back.  So is what is written until then: on SQLite that is in no transaction.
        """
        for callback in live_callbacks(self._callbacks):
            _merge(self._repeat_at_end, callback.write_sets)
        self._may_be_committed = self._connection.in_atomic_block
        now: dict[str, WriteSet] = {}
        _merge(now, self._repeat_at_end)
        deliver_logging_errors(now)

    def after_end(self) -> None:
        """Send again, after the transaction has ended, what was sent before.

        Until the end other readers read the state before the transaction, and may have cached it.
        """
        self._may_be_committed = False
        self.unmanaged_transaction.mark_ended()
        if self._repeat_at_end:
            write_sets, self._repeat_at_end = self._repeat_at_end, {}
            fence = self._take_fence()
            _deliver_or_postpone(partial(deliver_logging_errors, write_sets, fence), write_sets, fence)

    def after_rollback(self) -> None:
        """Forget the callbacks that Django has discarded: the traceback of an error may keep them alive.

        Otherwise reads would still count as those of a transaction that has written, and a later transaction would
        leave its write set to a callback that is not called.
        """
        if self._callbacks:
            self._callbacks = registered(self._callbacks, self._connection)

    def hide_blocks(self) -> tuple[int, CallbackReferences]:
        """Ignore the atomic blocks that are open, and return the state for `restore_blocks`."""
        state = self.hidden_blocks, self._callbacks
        self.hidden_blocks, self._callbacks = len(self._connection.atomic_blocks), []
        return state

    def restore_blocks(self, state: tuple[int, CallbackReferences]) -> None:
        """Undo `hide_blocks`."""
        self.deliver_finished_blocks()
        self.hidden_blocks, callbacks = state
        self._callbacks = [*callbacks, *self._callbacks]

    def _callback(self) -> CommitCallback:
        """Return the callback of the savepoints that are open now; register it if it is new."""
        savepoints = frozenset(self._connection.savepoint_ids)
        live = live_callbacks(self._callbacks)
        for callback in live:
            if callback.savepoints == savepoints:
                return callback
        callback = CommitCallback(self.after_commit, savepoints)
        register(callback, self._connection)
        self._callbacks = [*map(weakref.ref, live), weakref.ref(callback)]
        return callback


def _deliver_or_postpone(
    deliver: Callable[[], None], write_sets: dict[str, WriteSet], fence: Fence | None = None
) -> None:
    """Call `deliver` after a commit; if it is interrupted, leave `write_sets` to the background thread."""
    try:
        deliver()
    except BaseException:
        postpone(write_sets, fence)
        raise


def _merge(into: dict[str, WriteSet], write_sets: dict[str, WriteSet]) -> None:
    """Add write sets that are sent a second time; without their causes, which are published once."""
    for prefix, write_set in write_sets.items():
        into.setdefault(prefix, WriteSet()).add(replace(write_set, causes=[]))


def unit_of_work_on(connection: BaseDatabaseWrapper) -> UnitOfWork:
    """Return the unit of work of a connection, which belongs to one task like the connection itself."""
    unit = connection.__dict__.get("_cacheops_unit_of_work")
    if unit is None:
        unit = UnitOfWork(connection)
        connection._cacheops_unit_of_work = unit  # type: ignore[attr-defined]
    return unit


def unit_of_work_for(using: str) -> UnitOfWork:
    """Return the unit of work of this task's connection to the database `using`."""
    return unit_of_work_on(connections[using])


def is_dirty(databases: Iterable[str]) -> bool:
    """Return whether any of this task's connections to `databases` has uncommitted writes."""
    return any(unit_of_work_for(using).is_dirty for using in databases)


def may_fill(databases: Iterable[str]) -> bool:
    """Return whether reads of `databases` see a state as new as the versions that were read before them."""
    units = [unit_of_work_for(using) for using in databases]
    return not any(unit.is_dirty or unit.pins_snapshot for unit in units)


def forget_all(**kwargs: Any) -> None:
    """Remove the units of work from all of this task's connections."""
    for connection in connections.all(initialized_only=True):
        connection.__dict__.pop("_cacheops_unit_of_work", None)
