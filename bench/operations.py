"""The operations to measure.  Each is prepared once per process; then each block of calls gives one figure."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from .peers import Peer


@dataclass(frozen=True)
class Scale:
    """The amounts of data."""

    books: int = 10_000
    # Results that depend on the row that is changed.
    dependents: int = 50_000
    # Rows that are cached one by one to measure their memory.
    singles: int = 10_000


FULL, QUICK = Scale(), Scale(books=4_000, dependents=300, singles=300)


class Operation:
    """One row of the table."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = "us"
    # Upper bounds of our figure: as a ratio to that of django-cacheops, or in units.
    bound: ClassVar[float | None] = None
    insideout_bound: ClassVar[float | None] = None
    # The same for near hits.
    near_bound: ClassVar[float | None] = None
    bound_in_units: ClassVar[float | None] = None
    # Whether the figure is the difference to the peer without a cache.
    adds: ClassVar[bool] = False
    # Whether the second of two equal calls runs no SQL.
    is_hit: ClassVar[bool] = False
    # Calls in one block, and how many rounds there are for each block; 0 for a single block in all rounds.
    calls: ClassVar[int] = 5
    every: ClassVar[int] = 1
    warmups: ClassVar[int] = 1
    # The names of the peers that it applies to; empty for all with an ORM.
    only: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, peer: Peer, scale: Scale):
        self.peer = peer
        self.scale = scale

    @classmethod
    def applies_to(cls, peer: Peer) -> bool:
        if peer.floor:
            return cls.is_hit
        return not cls.only or peer.name in cls.only

    def prepare(self) -> None:
        """Prepare the operation; called once, before anything is measured."""

    def before(self) -> None:
        """Called before each call, not measured."""

    def call(self) -> Any:
        """The code that is measured."""
        raise NotImplementedError

    def after(self) -> None:
        """Called after each call, not measured."""

    def step(self) -> tuple[float, Any]:
        """Call once; return the microseconds that it took, and the result."""
        self.before()
        start = time.perf_counter()
        result = self.call()
        taken = time.perf_counter() - start
        self.after()
        return taken * 1e6, result

    def block(self) -> float:
        """Return the figure of one block: the median time of its calls in microseconds, unless overridden."""
        for _ in range(self.warmups):
            self.step()
        return statistics.median(self.step()[0] for _ in range(self.calls))


def plain(result: Any) -> Any:
    """Return a result of any kind as nested tuples, to compare it or to store it for a floor."""
    from django.db.models import Model

    if isinstance(result, Model):
        fields = tuple(getattr(result, field.attname) for field in result._meta.concrete_fields)
        related = tuple((name, plain(each)) for name, each in sorted(result._state.fields_cache.items()))
        prefetched = getattr(result, "_prefetched_objects_cache", {})
        return fields + related + tuple((name, plain(list(each))) for name, each in sorted(prefetched.items()))
    if isinstance(result, dict):
        return tuple((name, plain(each)) for name, each in result.items())
    if isinstance(result, (list, tuple)):
        return tuple(map(plain, result))
    return result
