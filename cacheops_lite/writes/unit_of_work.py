"""The unit of work: what a connection's transaction wrote, kept until it is committed.

Django's own ``on_commit`` knows what a rollback, also one to a savepoint, makes undone: it forgets the callbacks that
were registered within.  A unit of work keeps weak references to its callbacks, so those that Django forgot are gone here as
well.  A callback that is gone too late would invalidate too much, never too little.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..store import Fence, WriteSet, postpone, release, split_by_prefix
from .operation_scope import OperationScope
from .session_state import SnapshotRequests, TemporaryTables, Unmanaged, pins_snapshots
from .write_barrier import deliver, deliver_surely, invalidate_and_fence


class _Batch:
    """The work of one level of savepoints, alive as long as Django means to commit it."""

    def __init__(self, unit: UnitOfWork, savepoints: frozenset[str | None]):
        self.unit = unit
        self.savepoints = savepoints
        self.write_set: dict[str, WriteSet] = {}

    def __call__(self) -> None:
        self.unit.commit()


class UnitOfWork:
    """What a connection wrote and did not commit yet, and whether it may use the cache meanwhile."""

    def __init__(self, connection: BaseDatabaseWrapper):
        self._connection = weakref.proxy(connection)
        self._batches: list[weakref.ref[_Batch]] = []
        # Atomic blocks that count as not there: see `testing.as_autocommit`.
        self.hidden_blocks = 0
        # In manual transaction management: what is to be done again at the commit, of which nobody tells.
        self._uncommitted: dict[str, WriteSet] = {}
        # The same within an atomic block in which a statement may have committed: such blocks are torn.
        self._is_torn = False
        # While a commit is under way.
        self._fence: Fence | None = None
        self.unmanaged = Unmanaged(self._connection)
        self.snapshots = SnapshotRequests(self._connection)
        self.temporary_tables = TemporaryTables(self._connection)
        # Operations in progress, the innermost last.
        self.scopes: list[OperationScope] = []

    @property
    def scope(self) -> OperationScope | None:
        """The operation that statements now may belong to."""
        return self.scopes[-1] if self.scopes else None

    @contextmanager
    def within(self, scope: OperationScope) -> Iterator[None]:
        """Have `scope` claim statements for a while."""
        self.scopes.append(scope)
        try:
            yield
        finally:
            self.scopes.remove(scope)

    def describing(self, verb: str, *tables: str) -> AbstractContextManager[None]:
        """Within, statements of `verb` on `tables` are described by the caller, or change nothing."""
        return self.within(OperationScope(verb, tables))

    @property
    def using(self) -> str:
        """The alias of the connection's database."""
        return self._connection.alias

    @property
    def vendor(self) -> str:
        """The kind of its database."""
        return self._connection.vendor

    @property
    def in_transaction(self) -> bool:
        blocks = self._connection.atomic_blocks
        if blocks or self.hidden_blocks:
            return len(blocks) > self.hidden_blocks
        return not self._autocommit

    @property
    def is_manual(self) -> bool:
        """Autocommit is off outside of any atomic block: nobody tells when a commit comes."""
        return not self._connection.in_atomic_block and not self._autocommit

    @property
    def _autocommit(self) -> bool:
        # Not get_autocommit(), which connects to the database first: a hit should not need it.
        connection = self._connection
        if self.unmanaged.is_begun:
            return False
        return connection.autocommit if connection.connection else connection.settings_dict["AUTOCOMMIT"]

    @property
    def is_dirty(self) -> bool:
        """There are writes that others can't see yet, or whose invalidation is still to come; or other tables."""
        self.settle()
        return (
            self.is_manual or self.temporary_tables.hide_tables or any(batch() is not None for batch in self._batches)
        )

    @property
    def pins_snapshot(self) -> bool:
        """Reads may see an older state than the versions that were read before them."""
        return self.in_transaction and (self.snapshots.are_asked_for or pins_snapshots(self._connection))

    def touch(self) -> None:
        """Note that the transaction wrote something."""
        if self.in_transaction and not self.is_manual:
            self._batch()

    def record(self, write_set: WriteSet, by_hand: bool = False) -> None:
        """Have `write_set` done when what was written is committed: now, in autocommit.

        As it is written by then, an error of Redis is logged, not raised, unless the work was asked for `by_hand`; in
        any case the work is done as soon as it can be.
        """
        if not write_set:
            return
        if not self.in_transaction or self.is_manual:
            self.settle()
            parts = split_by_prefix(write_set)
            if self.is_manual:
                _add(self._uncommitted, parts)
            (deliver if by_hand else deliver_surely)(parts)
        else:
            batch = self._batch()
            # The prefix is that of now: at the commit it may be another host's.
            parts = split_by_prefix(write_set)
            for prefix, part in parts.items():
                batch.write_set.setdefault(prefix, WriteSet()).add(part)
            if self._is_torn:
                _add(self._uncommitted, parts)

    def settle(self) -> None:
        """Commit what was written within blocks that ended inside of hidden ones, which Django keeps open."""
        if self._batches and not self.in_transaction and self._connection.in_atomic_block:
            self.commit()

    def before_commit(self) -> None:
        """Hold what is about to be committed: from then on nobody finds in the cache what was before it."""
        owed = self._owed()
        _add(owed, self._uncommitted)
        self._fence_off(owed)

    def before_end(self) -> None:
        """Likewise, where a transaction that no atomic block began may end, and be committed."""
        if self._uncommitted and self._fence is None:
            self._fence_off(self._uncommitted)

    def _fence_off(self, owed: dict[str, WriteSet]) -> None:
        """Hold the tables of `owed`, and none if that is interrupted."""
        self._fence = fence = Fence() if owed else None
        if fence is not None:
            try:
                invalidate_and_fence(owed, fence)
            except BaseException:
                self._fence = None
                release(fence)
                raise

    def commit(self) -> None:
        """Do the work of all batches that are alive, at once."""
        owed, fence = self._owed(), self._take_fence()

        def finish() -> None:
            for batch in self._alive():
                batch.write_set = {}
            self._batches.clear()
            deliver_surely(owed, fence)

        _done_or_postponed(finish, owed, fence)

    def commit_failed(self, is_over: Callable[[], bool]) -> None:
        """To be called when it is not known whether the commit came about; `is_over` tells that it is not under way."""
        owed, self._uncommitted = self._uncommitted, {}
        _add(owed, self._owed())
        self._is_torn = False
        fence = self._take_fence()
        if owed:
            # Where the database does not answer it may still be under way: the hold stands until that is over.
            _done_or_postponed(lambda: deliver_surely(owed, fence if is_over() else None), owed)

    def _owed(self) -> dict[str, WriteSet]:
        owed: dict[str, WriteSet] = {}
        for batch in self._alive():
            for prefix, write_set in batch.write_set.items():
                owed.setdefault(prefix, WriteSet()).add(write_set)
        return owed

    def _take_fence(self) -> Fence | None:
        fence, self._fence = self._fence, None
        return fence

    def flush_early(self) -> None:
        """To be called after what may have committed without Django's knowing: it can't be undone any more.

        In an atomic block it is all done once more at its end, whichever that is, and so is what comes after it: on
        SQLite that is in no transaction.
        """
        for batch in self._alive():
            _add(self._uncommitted, batch.write_set)
        self._is_torn = self._connection.in_atomic_block
        again: dict[str, WriteSet] = {}
        _add(again, self._uncommitted)
        deliver_surely(again)

    def committed(self) -> None:
        """To be called when a transaction ended of which no block tells all: what others read before it falls again."""
        self._is_torn = False
        self.unmanaged.ended()
        if self._uncommitted:
            write_set, self._uncommitted = self._uncommitted, {}
            fence = self._take_fence()
            _done_or_postponed(partial(deliver_surely, write_set, fence), write_set, fence)

    def hide(self) -> tuple[int, list[weakref.ref[_Batch]]]:
        """Let the blocks that are open count as not there, and return what `restore` takes."""
        state = self.hidden_blocks, self._batches
        self.hidden_blocks, self._batches = len(self._connection.atomic_blocks), []
        return state

    def restore(self, state: tuple[int, list[weakref.ref[_Batch]]]) -> None:
        """Undo `hide`."""
        self.settle()
        self.hidden_blocks, batches = state
        self._batches = [*batches, *self._batches]

    def _alive(self) -> list[_Batch]:
        return [batch for reference in self._batches if (batch := reference()) is not None]

    def _batch(self) -> _Batch:
        savepoints = frozenset(self._connection.savepoint_ids)
        alive = self._alive()
        for batch in alive:
            if batch.savepoints == savepoints:
                return batch
        batch = _Batch(self, savepoints)
        transaction.on_commit(batch, using=self._connection.alias)
        self._go_first()
        self._batches = [*map(weakref.ref, alive), weakref.ref(batch)]
        return batch

    def _go_first(self) -> None:
        """Put our callback before all others: one of theirs that raises would keep it from being called.

        Not in the transactions of a TestCase, which never call any; ``captureOnCommitCallbacks`` counts them there.
        """
        connection = self._connection
        if not getattr(connection.atomic_blocks[0], "_from_testcase", False):
            connection.run_on_commit.insert(0, connection.run_on_commit.pop())


def _done_or_postponed(deliver: Callable[[], None], owed: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Deliver what is owed for a commit; later, if something interrupts it."""
    try:
        deliver()
    except BaseException:
        postpone(owed, fence)
        raise


def _add(kept: dict[str, WriteSet], write_sets: dict[str, WriteSet]) -> None:
    """Add works by prefix to those that are kept for a second time; signals are given once."""
    for prefix, write_set in write_sets.items():
        kept.setdefault(prefix, WriteSet()).add(replace(write_set, signals=[]))


def unit_of_work_of(connection: BaseDatabaseWrapper) -> UnitOfWork:
    """The unit of work of a connection, which belongs to one task like the connection itself."""
    unit = connection.__dict__.get("_cacheops_unit_of_work")
    if unit is None:
        unit = UnitOfWork(connection)
        connection._cacheops_unit_of_work = unit  # type: ignore[attr-defined]
    return unit


def unit_of_work_for(using: str) -> UnitOfWork:
    """The unit of work of this task's connection to the database `using`."""
    return unit_of_work_of(connections[using])


def is_dirty(databases: Iterable[str]) -> bool:
    """Any of this task's connections to `databases` has uncommitted writes."""
    return any(unit_of_work_for(using).is_dirty for using in databases)


def may_fill(databases: Iterable[str]) -> bool:
    """What this task reads from `databases` is as new as the versions that it read before."""
    units = [unit_of_work_for(using) for using in databases]
    return not any(unit.is_dirty or unit.pins_snapshot for unit in units)


def forget_all(**kwargs: Any) -> None:
    """Take the units of work off all of this task's connections."""
    for connection in connections.all(initialized_only=True):
        connection.__dict__.pop("_cacheops_unit_of_work", None)
