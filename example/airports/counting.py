"""Count the cached reads and SQL queries of a block of code."""

from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import connections
from django.dispatch import receiver

from cacheops_lite.signals import cache_read


@dataclass
class Counts:
    """The numbers of cached reads and SQL queries of a block of code."""

    hits: int = 0
    misses: int = 0
    queries: int = 0

    @property
    def from_cache(self):
        """Whether the cache answered all reads and the database none."""
        return self.hits > 0 and self.misses == 0 and self.queries == 0

    def __str__(self):
        return f"Cached reads: {self.hits} hit, {self.misses} missed · SQL queries: {self.queries}"


_current: ContextVar[Counts | None] = ContextVar("counts", default=None)


@contextmanager
def counting():
    """Yield the Counts of the block. Of nested blocks, only the innermost one counts."""
    counts = Counts()

    def count_query(execute, sql, params, many, context):
        counts.queries += 1
        return execute(sql, params, many, context)

    token = _current.set(counts)
    try:
        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(count_query))
            yield counts
    finally:
        _current.reset(token)


@receiver(cache_read, dispatch_uid="airports.counting")
def count_cached_read(sender, hit, **kwargs):
    """Add a cached read to the counts of the current block."""
    counts = _current.get()
    if counts is None:
        return
    if hit:
        counts.hits += 1
    else:
        counts.misses += 1
