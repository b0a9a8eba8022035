"""Invalidation by hand, and turning it off for a while."""

from __future__ import annotations

import inspect
from contextlib import ContextDecorator
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from ..conf import settings
from ..store import WriteSet, split_by_prefix
from .row_changes import row_came
from .row_images import snapshot, table_names, unwrapped
from .unit_of_work import unit_of_work_for
from .write_barrier import deliver

__all__ = ["invalidate_all", "invalidate_model", "invalidate_obj", "no_invalidation"]


def invalidate_obj(obj: Model, using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate all results that the row of `obj`, as it is in memory, can influence.

    In a transaction on `using` it is done at commit.  Raises TypeError for what is not a saved instance, and errors of
    Redis unless reads degrade.
    """
    if not isinstance(obj, Model):
        raise TypeError(f"invalidate_obj() takes a model instance, not {obj!r}")
    if obj.pk is None:
        raise TypeError(f"invalidate_obj() takes a saved instance, {obj!r} has no primary key")
    obj = unwrapped(obj)
    held = snapshot(obj)
    vendor = connections[using].vendor
    record(type(obj), using, WriteSet(changes=row_came(type(obj), held, vendor)), held, by_hand=True)


def invalidate_model(model: type[Model], using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate all results that rest on the table of `model`, or its multi-table parents'.

    In a transaction on `using` it is done at commit.  Raises TypeError for what is not a model with a table, and errors
    of Redis unless reads degrade.
    """
    if not isinstance(model, type) or not issubclass(model, Model):
        raise TypeError(f"invalidate_model() takes a model class, not {model!r}")
    record(model, using, WriteSet(tables=table_names(model)), None, by_hand=True)


def invalidate_all() -> None:
    """Remove everything that we keep in Redis, and nothing of anybody else's.

    With ``CACHEOPS_PREFIX`` that is what lies under the prefixes that it gives now to all tables and the simple cache.
    Done at once; within a transaction again at its commit.
    """
    if not is_active():
        return
    work = WriteSet(everything=True, signals=[(None, None)])
    for connection in connections.all(initialized_only=True):
        unit = unit_of_work_for(connection.alias)
        if unit.in_transaction:
            unit.record(WriteSet(everything=True))
    deliver(split_by_prefix(work))


def record(
    model: type[Model], using: str, work: WriteSet, *obj_dicts: dict[str, Any] | None, by_hand: bool = False
) -> None:
    """Have `work` done once what this task wrote is committed; then tell receivers of ``cache_invalidated``."""
    if is_active() and work:
        work.signals += [(model._meta.concrete_model, obj_dict) for obj_dict in obj_dicts]
        unit_of_work_for(using).record(work, by_hand)


def is_active() -> bool:
    """Writes invalidate here and now: the cache is enabled and this task is not within `no_invalidation`."""
    return settings.CACHEOPS_ENABLED and not _depth.get()


_depth: ContextVar[int] = ContextVar("cacheops_no_invalidation", default=0)


class _NoInvalidation(ContextDecorator):
    """Turns invalidation off for this task: ``with no_invalidation: ...`` or ``@no_invalidation``."""

    def __enter__(self) -> _NoInvalidation:
        _depth.set(_depth.get() + 1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _depth.set(_depth.get() - 1)

    def __call__(self, func: Any) -> Any:
        if not inspect.iscoroutinefunction(func):
            return super().__call__(func)

        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await func(*args, **kwargs)

        return wrapper

    @property
    def active(self) -> bool:
        return _depth.get() > 0


no_invalidation = _NoInvalidation()
