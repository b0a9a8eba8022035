"""The ``on_commit`` callbacks that keep write sets until their savepoints are committed.

A rollback, also one to a savepoint, makes Django discard the callbacks that were registered within.  A unit of work
keeps only weak references to its callbacks, so what was rolled back disappears together with Django's callback, however
Django discards it.  After each rollback it also forgets those that something else keeps alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from django.db import transaction

from ..store import WriteSet


class CommitCallback:
    """The callback of one set of open savepoints, with the write sets, by key prefix, that were recorded within.

    It lives as long as Django intends to commit them.
    """

    def __init__(self, after_commit: Callable[[], None], savepoints: frozenset[str | None]):
        self.savepoints = savepoints
        self.write_sets: dict[str, WriteSet] = {}
        self._after_commit = after_commit

    def __call__(self) -> None:
        self._after_commit()


CallbackReferences: TypeAlias = list[weakref.ref[CommitCallback]]


def live_callbacks(references: CallbackReferences) -> list[CommitCallback]:
    """Return the callbacks that were not rolled back."""
    return [callback for reference in references if (callback := reference()) is not None]


def registered(references: CallbackReferences, connection: Any) -> CallbackReferences:
    """Return the references to callbacks that Django still intends to call."""
    callbacks = {id(entry[1]) for entry in connection.run_on_commit}
    return [reference for reference in references if id(reference()) in callbacks]


def pending_write_sets(callbacks: Iterable[CommitCallback]) -> dict[str, WriteSet]:
    """Return the write sets of `callbacks`, merged by prefix."""
    pending: dict[str, WriteSet] = {}
    for callback in callbacks:
        for prefix, write_set in callback.write_sets.items():
            pending.setdefault(prefix, WriteSet()).add(write_set)
    return pending


def register(callback: CommitCallback, connection: Any) -> None:
    """Have `callback` called at the commit, before the application's callbacks: one that raises would prevent it."""
    transaction.on_commit(callback, using=connection.alias)
    # A TestCase never calls the callbacks of its own transaction, and ``captureOnCommitCallbacks`` finds new ones by
    # their place in the list.
    if not getattr(connection.atomic_blocks[0], "_from_testcase", False):
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())
