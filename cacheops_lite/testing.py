"""Helpers for tests of projects that use the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from .store import all_prefixes, clear
from .writes import recorder_of

__all__ = ["as_autocommit"]


@contextmanager
def as_autocommit() -> Iterator[None]:
    """Make the transactions that are open now invisible, such as those that ``TestCase`` holds.

    Within, caching and invalidation behave as in autocommit, and as in a transaction inside further ``atomic`` blocks.
    The cache is emptied before and after, as what the open transactions wrote will be rolled back.
    """
    recorders = [recorder_of(connection) for connection in connections.all()]
    before = [recorder.hide() for recorder in recorders]
    try:
        _clear()
        yield
    finally:
        for recorder, state in zip(recorders, before, strict=True):
            recorder.restore(state)
        _clear()


def _clear() -> None:
    for prefix in all_prefixes():
        clear(prefix)
