"""The recorder: what a connection's transaction wrote, kept until it is committed.

Django's own ``on_commit`` knows what a rollback, also one to a savepoint, makes undone: it forgets the callbacks that
were registered within.  A recorder keeps weak references to its callbacks, so those that Django forgot are gone here as
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

from ..store import Hold, Work, by_prefix, postpone, release
from .operation_scope import Frame
from .session_state import SnapshotRequests, TemporaryTables, Unmanaged, pins_snapshots
from .write_barrier import deliver, deliver_surely, hold


class _Batch:
    """The work of one level of savepoints, alive as long as Django means to commit it."""

    def __init__(self, recorder: Recorder, savepoints: frozenset[str | None]):
        self.recorder = recorder
        self.savepoints = savepoints
        self.work: dict[str, Work] = {}

    def __call__(self) -> None:
        self.recorder.commit()


class Recorder:
    """What a connection wrote and did not commit yet, and whether it may use the cache meanwhile."""

    def __init__(self, connection: BaseDatabaseWrapper):
        self._connection = weakref.proxy(connection)
        self._batches: list[weakref.ref[_Batch]] = []
        # Atomic blocks that count as not there: see `testing.as_autocommit`.
        self.hidden_blocks = 0
        # In manual transaction management: what is to be done again at the commit, of which nobody tells.
        self._uncommitted: dict[str, Work] = {}
        # The same within an atomic block in which a statement may have committed: such blocks are torn.
        self._is_torn = False
        # While a commit is under way.
        self._held: Hold | None = None
        self.unmanaged = Unmanaged(self._connection)
        self.snapshots = SnapshotRequests(self._connection)
        self.temporary_tables = TemporaryTables(self._connection)
        # Operations in progress, the innermost last.
        self.frames: list[Frame] = []

    @property
    def frame(self) -> Frame | None:
        """The operation that statements now may belong to."""
        return self.frames[-1] if self.frames else None

    @contextmanager
    def within(self, frame: Frame) -> Iterator[None]:
        """Have `frame` claim statements for a while."""
        self.frames.append(frame)
        try:
            yield
        finally:
            self.frames.remove(frame)

    def describing(self, verb: str, *tables: str) -> AbstractContextManager[None]:
        """Within, statements of `verb` on `tables` are described by the caller, or change nothing."""
        return self.within(Frame(verb, tables))

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
        """Reads may see an older state than the stamps that were read before them."""
        return self.in_transaction and (self.snapshots.are_asked_for or pins_snapshots(self._connection))

    def touch(self) -> None:
        """Note that the transaction wrote something."""
        if self.in_transaction and not self.is_manual:
            self._batch()

    def record(self, work: Work, by_hand: bool = False) -> None:
        """Have `work` done when what was written is committed: now, in autocommit.

        As it is written by then, an error of Redis is logged, not raised, unless the work was asked for `by_hand`; in
        any case the work is done as soon as it can be.
        """
        if not work:
            return
        if not self.in_transaction or self.is_manual:
            self.settle()
            parts = by_prefix(work)
            if self.is_manual:
                _add(self._uncommitted, parts)
            (deliver if by_hand else deliver_surely)(parts)
        else:
            batch = self._batch()
            # The prefix is that of now: at the commit it may be another host's.
            parts = by_prefix(work)
            for prefix, part in parts.items():
                batch.work.setdefault(prefix, Work()).add(part)
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
        self._hold(owed)

    def before_end(self) -> None:
        """Likewise, where a transaction that no atomic block began may end, and be committed."""
        if self._uncommitted and self._held is None:
            self._hold(self._uncommitted)

    def _hold(self, owed: dict[str, Work]) -> None:
        """Hold the tables of `owed`, and none if that is interrupted."""
        self._held = held = Hold() if owed else None
        if held is not None:
            try:
                hold(owed, held)
            except BaseException:
                self._held = None
                release(held)
                raise

    def commit(self) -> None:
        """Do the work of all batches that are alive, at once."""
        owed, held = self._owed(), self._take_hold()

        def finish() -> None:
            for batch in self._alive():
                batch.work = {}
            self._batches.clear()
            deliver_surely(owed, held)

        _done_or_postponed(finish, owed, held)

    def commit_failed(self, is_over: Callable[[], bool]) -> None:
        """To be called when it is not known whether the commit came about; `is_over` tells that it is not under way."""
        owed, self._uncommitted = self._uncommitted, {}
        _add(owed, self._owed())
        self._is_torn = False
        held = self._take_hold()
        if owed:
            # Where the database does not answer it may still be under way: the hold stands until that is over.
            _done_or_postponed(lambda: deliver_surely(owed, held if is_over() else None), owed)

    def _owed(self) -> dict[str, Work]:
        owed: dict[str, Work] = {}
        for batch in self._alive():
            for prefix, work in batch.work.items():
                owed.setdefault(prefix, Work()).add(work)
        return owed

    def _take_hold(self) -> Hold | None:
        held, self._held = self._held, None
        return held

    def flush_early(self) -> None:
        """To be called after what may have committed without Django's knowing: it can't be undone any more.

        In an atomic block it is all done once more at its end, whichever that is, and so is what comes after it: on
        SQLite that is in no transaction.
        """
        for batch in self._alive():
            _add(self._uncommitted, batch.work)
        self._is_torn = self._connection.in_atomic_block
        again: dict[str, Work] = {}
        _add(again, self._uncommitted)
        deliver_surely(again)

    def committed(self) -> None:
        """To be called when a transaction ended of which no block tells all: what others read before it falls again."""
        self._is_torn = False
        self.unmanaged.ended()
        if self._uncommitted:
            work, self._uncommitted = self._uncommitted, {}
            held = self._take_hold()
            _done_or_postponed(partial(deliver_surely, work, held), work, held)

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


def _done_or_postponed(deliver: Callable[[], None], owed: dict[str, Work], held: Hold | None = None) -> None:
    """Deliver what is owed for a commit; later, if something interrupts it."""
    try:
        deliver()
    except BaseException:
        postpone(owed, held)
        raise


def _add(kept: dict[str, Work], works: dict[str, Work]) -> None:
    """Add works by prefix to those that are kept for a second time; notices are given once."""
    for prefix, work in works.items():
        kept.setdefault(prefix, Work()).add(replace(work, notices=[]))


def recorder_of(connection: BaseDatabaseWrapper) -> Recorder:
    """The recorder of a connection, which belongs to one task like the connection itself."""
    recorder = connection.__dict__.get("_cacheops_recorder")
    if recorder is None:
        recorder = Recorder(connection)
        connection._cacheops_recorder = recorder  # type: ignore[attr-defined]
    return recorder


def recorder_for(using: str) -> Recorder:
    """The recorder of this task's connection to the database `using`."""
    return recorder_of(connections[using])


def is_dirty(databases: Iterable[str]) -> bool:
    """Any of this task's connections to `databases` has uncommitted writes."""
    return any(recorder_for(using).is_dirty for using in databases)


def may_fill(databases: Iterable[str]) -> bool:
    """What this task reads from `databases` is as new as the stamps that it read before."""
    recorders = [recorder_for(using) for using in databases]
    return not any(recorder.is_dirty or recorder.pins_snapshot for recorder in recorders)


def forget_all(**kwargs: Any) -> None:
    """Take the recorders off all of this task's connections."""
    for connection in connections.all(initialized_only=True):
        connection.__dict__.pop("_cacheops_recorder", None)
