"""Record what each write invalidated.  Whatever shows or counts writes consumes these records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..signals import cache_invalidated
from ..utils import error_boundary

Observer = Callable[["Invalidation"], None]
_observers: list[Observer] = []


@dataclass(slots=True, eq=False)
class Invalidation:
    """One write, and what it invalidated.

    `operation` is a method such as ``save`` or ``update``, ``SQL`` for a statement of the application's own (then
    `statement` is its text without parameters), or a function such as ``invalidate_obj``.  `model` is None for those
    that concern no single model.  `caller` is ``file:line`` of the application.  `dependencies` are the names of the
    dependencies that cached results had and that the write met, a table's name alone for all results that depend on
    it; empty until the invalidation is delivered, which a transaction does when it commits.
    """

    operation: str
    model: Any = None
    statement: str = ""
    caller: str = ""
    using: str = ""
    # The arguments of the signal ``cache_invalidated``: values of rows by attname, None for a whole table.
    obj_dicts: list[dict[str, Any] | None] = field(default_factory=list)
    # What was written: changed rows, and the tables that are invalidated as a whole.
    changes: Collection[Any] = ()
    tables: Collection[str] = ()
    dependencies: list[str] = field(default_factory=list)
    # When it was delivered, in seconds since 1970, and how many seconds sending it took.
    time: float = 0.0
    seconds: float = 0.0


def is_observed() -> bool:
    """Return whether anything consumes invalidations: an observer, or receivers of ``cache_invalidated``."""
    return bool(_observers or cache_invalidated.receivers)


def observe(observer: Observer) -> None:
    """Call `observer` with each invalidation after it was delivered.  What it raises is logged."""
    _observers.append(observer)


def unobserve(observer: Observer) -> None:
    """Undo `observe`."""
    _observers.remove(observer)


def publish(invalidation: Invalidation) -> None:
    """Hand a delivered invalidation to all consumers, and send ``cache_invalidated`` for each of its rows."""
    invalidation.time = time.time()
    for observer in list(_observers):
        error_boundary.call_or_default("An observer of the cache failed", partial(observer, invalidation), None)
    for obj_dict in invalidation.obj_dicts:
        cache_invalidated.send_robust(sender=invalidation.model, obj_dict=obj_dict, invalidation=invalidation)
