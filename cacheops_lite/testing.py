"""Helpers for tests of projects that use the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from .store import all_prefixes, clear
from .writes import unit_of_work_on

__all__ = ["as_autocommit"]


@contextmanager
def as_autocommit() -> Iterator[None]:
    """Ignore the transactions that are open now, such as those of ``TestCase``.

    Inside the block, caching and invalidation behave as in autocommit, and inside further ``atomic`` blocks as in a
    transaction.  The cache is emptied before and after, because the open transactions will be rolled back.
    """
    units = [unit_of_work_on(connection) for connection in connections.all()]
    states = [unit.hide_blocks() for unit in units]
    try:
        _clear()
        yield
    finally:
        for unit, state in zip(units, states, strict=True):
            unit.restore_blocks(state)
        _clear()


def _clear() -> None:
    for prefix in all_prefixes():
        clear(prefix)
