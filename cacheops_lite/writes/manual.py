"""Manual invalidation, and switching invalidation off for a while."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from ..conf import settings
from ..observe import Invalidation, invalidations
from ..store import WriteSet, split_by_prefix
from ..utils import error_boundary
from .row_changes import insert_changes
from .row_images import instance_values, table_names, unwrap_lazy
from .unit_of_work import unit_of_work_for
from .write_barrier import deliver

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["invalidate_all", "invalidate_model", "invalidate_obj", "no_invalidation"]


def invalidate_obj(obj: Model, using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate all results that the row of `obj`, with the values of the instance, can influence.

    Within a transaction on `using` the invalidation is sent at the commit.  Raises TypeError for anything but a saved
    instance.  Raises errors of Redis, also if reads degrade; the invalidation is then repeated until it succeeds.
    """
    if not isinstance(obj, Model):
        raise TypeError(f"invalidate_obj() takes a model instance, not {obj!r}")
    if obj.pk is None:
        raise TypeError(f"invalidate_obj() takes a saved instance, {obj!r} has no primary key")
    obj = unwrap_lazy(obj)
    values = instance_values(obj)
    vendor = connections[using].vendor
    changes = insert_changes(type(obj), values, vendor)
    record_write("invalidate_obj", type(obj), using, WriteSet(changes=changes), values, raise_errors=True)


def invalidate_model(model: type[Model], using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate all results that depend on the table of `model` or on those of its multi-table parents.

    Within a transaction on `using` the invalidation is sent at the commit.  Raises TypeError for anything but a model
    with a table.  Raises errors of Redis, also if reads degrade; the invalidation is then repeated until it succeeds.
    """
    if not isinstance(model, type) or not issubclass(model, Model):
        raise TypeError(f"invalidate_model() takes a model class, not {model!r}")
    record_write("invalidate_model", model, using, WriteSet(tables=table_names(model)), None, raise_errors=True)


def invalidate_all() -> None:
    """Remove all keys of this cache from Redis, and no others.

    With ``CACHEOPS_PREFIX`` these are the keys under the prefixes that it returns now for all tables and for the simple
    cache.  They are removed at once, and within a transaction again at its commit.  Raises errors of Redis, also if
    reads degrade; the removal is then repeated until it succeeds.
    """
    if not is_active():
        return
    write_set = WriteSet(everything=True)
    if invalidations.is_observed():
        write_set.causes.append(Invalidation("invalidate_all", caller=error_boundary.call_site(), obj_dicts=[None]))
    for connection in connections.all(initialized_only=True):
        unit = unit_of_work_for(connection.alias)
        if unit.in_transaction:
            unit.record(WriteSet(everything=True))
    deliver(split_by_prefix(write_set))


def record_write(
    operation: str,
    model: type[Model],
    using: str,
    write_set: WriteSet,
    *obj_dicts: dict[str, Any] | None,
    raise_errors: bool = False,
) -> None:
    """Record `write_set` in the unit of work of `using`, which sends it once the transaction is committed.

    Then the invalidation is published as that of `operation`, and ``cache_invalidated`` is sent for `model`, once for
    each of `obj_dicts`.  With `raise_errors` errors of Redis are raised to the caller.
    """
    if is_active() and write_set:
        note_cause(write_set, Invalidation(operation, model._meta.concrete_model, using=using, obj_dicts=[*obj_dicts]))
        unit_of_work_for(using).record(write_set, raise_errors)


def note_cause(write_set: WriteSet, cause: Invalidation) -> None:
    """Note in `write_set` which write it comes from, if anything consumes invalidations."""
    if invalidations.is_observed():
        cause.caller = error_boundary.call_site()
        cause.changes, cause.tables = tuple(write_set.changes), set(write_set.tables)
        write_set.causes.append(cause)


def is_active() -> bool:
    """Return whether writes invalidate: the cache is enabled and this task is not within `no_invalidation`."""
    return settings.CACHEOPS_ENABLED and not _depth.get()


_depth: ContextVar[int] = ContextVar("cacheops_no_invalidation", default=0)


class _NoInvalidation(ContextDecorator):
    """Switch invalidation off for this task: ``with no_invalidation: ...`` or ``@no_invalidation``."""

    def __enter__(self) -> _NoInvalidation:
        _depth.set(_depth.get() + 1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _depth.set(_depth.get() - 1)

    def __call__(self, func: F) -> F:
        if not inspect.iscoroutinefunction(func):
            return super().__call__(func)

        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await func(*args, **kwargs)

        decorated: Any = wrapper
        return decorated

    @property
    def active(self) -> bool:
        return _depth.get() > 0


no_invalidation = _NoInvalidation()
