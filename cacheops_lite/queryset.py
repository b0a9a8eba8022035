"""Querysets that read through the cache, and their managers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from . import compiled, conf, gets, mass, writes
from .caching import Caching, caching_of, fetch, require_caching, value
from .conf import ALL_OPS
from .gets import fetching_as_get
from .invalidation import is_active
from .patches import Patches
from .scope import is_watched
from .shapes import Shapeless, identity_of
from .signals import post_update, pre_update
from .transaction import recorder_for


class QuerySetMixin(QuerySet[Any]):
    """What querysets get: caching of their reads, and the methods that steer it."""

    def cache(
        self,
        ops: str | Iterable[str] | None = None,
        timeout: int | None = None,
        lock: bool | None = None,
    ) -> QuerySetMixin:
        """Cache `ops` of this queryset and of those made from it.

        `ops` is one or some of ``get``, ``fetch``, ``count``, ``exists``, ``aggregate``; None means all, ``[]`` none.
        `timeout` is in seconds; with `lock` only one of many that miss at once computes.  What is left out is as the
        profile says.  Raises ImproperlyConfigured for a model without a profile or nonsense.
        """
        where = f"{self.model._meta.label}: cache()"
        caching = require_caching(self)
        self._cacheops_caching = Caching(
            ops=ALL_OPS if ops is None else conf.parse_ops(ops, where),
            timeout=caching.timeout if timeout is None else conf.parse_timeout(timeout, where),
            lock=caching.lock if lock is None else lock,
            db_agnostic=caching.db_agnostic,
            local_get=caching.local_get,
            asked_for=True,
        )
        return self

    def nocache(self) -> QuerySetMixin:
        """Don't cache this queryset and those made from it."""
        caching = caching_of(self)
        if caching is not None:
            self._cacheops_caching = _uncached(caching)
        return self

    def cloning(self, cloning: int = 1000) -> QuerySetMixin:
        """Make the next `cloning` methods clone as usual; 0 makes this queryset change in place."""
        self._cacheops_cloning = cloning
        return self

    def inplace(self) -> QuerySetMixin:
        """Make methods change this queryset instead of cloning it."""
        return self.cloning(0)

    def invalidated_update(self, **kwargs: Any) -> int:
        """``update(**kwargs)`` that invalidates by the old and new state of each row; returns the number of rows."""
        clone = original(QuerySet, "_clone")(self).select_related(None)
        clone._for_write = True
        if not is_active():
            return clone.update(**kwargs)
        update = original(QuerySet, "update")
        return _signalled(
            clone, kwargs, lambda: mass.update_invalidated(clone.nocache(), kwargs, lambda rows: update(rows, **kwargs))
        )

    invalidated_update.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        self._for_write = True
        update = original(QuerySet, "update")

        def perform() -> int:
            return update(self, **kwargs)

        model: Any = self.model
        is_refused = self.query.combinator or self.query.is_sliced
        if is_refused or not is_watched(model) or not is_active():
            return _signalled(self, kwargs, perform)
        return _signalled(self, kwargs, lambda: mass.update(self, kwargs, perform))

    def _raw_delete(self, using: Any) -> int:
        raw_delete = original(QuerySet, "_raw_delete")
        model: Any = self.model
        if not is_watched(model) or not is_active():
            return raw_delete(self, using)
        return mass.delete(self, using, lambda: raw_delete(self, using))

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        bulk_create = original(QuerySet, "bulk_create")
        updates = len(args) > 2 or kwargs.get("update_conflicts")
        model: Any = self.model
        if updates or not is_watched(model) or not is_active():
            return bulk_create(self, objs, *args, **kwargs)
        self._for_write = True
        using = self.db
        # Made in one transaction, so that what is known of the rows is recorded before anybody sees them.
        with transaction.atomic(using=using, savepoint=False):
            with recorder_for(using).describing("insert", self.model._meta.db_table):
                created = bulk_create(self, objs, *args, **kwargs)
            writes.created(self.model, created, using)
        return created

    def clone(self) -> QuerySet[Any]:
        """A copy, also of a queryset that changes in place; the copy then does so, too."""
        return _copy(self)

    def _clone(self) -> QuerySet[Any]:
        if self.__dict__.get("_cacheops_cloning") != 0:
            return _copy(self)
        self._result_cache = None
        self._prefetch_done = False
        return self

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            capture = self.__dict__.get("_cacheops_capture")
            # None, if it is not to be cached, leaves it to Django.
            self._result_cache = fetch(self) if capture is None else capture.results(self)
        original(QuerySet, "_fetch_all")(self)

    def count(self) -> int:
        count = original(QuerySet, "count")
        if self._result_cache is not None:
            return count(self)
        return value(
            self,
            "count",
            lambda query, tokens: compiled.compile_count(query, self.db, tokens),
            lambda: count(self),
            "count",
        )

    def exists(self) -> bool:
        exists = original(QuerySet, "exists")
        if self._result_cache is not None:
            return exists(self)
        return value(
            self,
            "exists",
            lambda query, tokens: compiled.compile_exists(query, self.db, tokens),
            lambda: exists(self),
            "exists",
        )

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        aggregate = original(QuerySet, "aggregate")
        named = _named(args, kwargs)
        if not named:
            return aggregate(self, *args, **kwargs)
        return value(
            self,
            "aggregate",
            lambda query, tokens: compiled.compile_aggregates(query, self.db, named, tokens),
            lambda: aggregate(self, *args, **kwargs),
            _kind_of(named),
        )

    def get(self, *args: Any, **kwargs: Any) -> Any:
        get = original(QuerySet, "get")
        return gets.get(self, args, kwargs, lambda queryset: get(queryset, *args, **kwargs))

    def first(self) -> Any:
        return original(QuerySet, "first")(fetching_as_get(self))

    def last(self) -> Any:
        return original(QuerySet, "last")(fetching_as_get(self))

    def in_bulk(self, id_list: Any = None, *, field_name: str = "pk") -> dict[Any, Any]:
        in_bulk = original(QuerySet, "in_bulk")
        return in_bulk(fetching_as_get(self), id_list, field_name=field_name)


@cache
def _uncached(caching: Caching) -> Caching:
    return replace(caching, ops=frozenset(), asked_for=True)


def _copy(queryset: Any) -> QuerySet[Any]:
    copied = original(QuerySet, "_clone")(queryset)
    cloning = queryset.__dict__.get("_cacheops_cloning")
    if cloning is not None:
        copied._cacheops_cloning = max(cloning - 1, 0)
    caching = queryset.__dict__.get("_cacheops_caching")
    if caching is not None:
        copied._cacheops_caching = caching
    capture = queryset.__dict__.get("_cacheops_capture")
    if capture is not None:
        copied._cacheops_capture = capture
    return copied


def _signalled(queryset: Any, values: dict[str, Any], perform: Callable[[], int]) -> int:
    """What `perform` returns, which updates the queryset, between the signals that say so."""
    sender, using = queryset.model, queryset.db
    pre_update.send(sender=sender, queryset=queryset, values=values, using=using)
    rows = perform()
    post_update.send(sender=sender, queryset=queryset, values=values, using=using, rows=rows)
    return rows


def _named(args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The aggregates by alias; None for what Django will refuse, so that its own error comes."""
    named = dict(kwargs)
    for arg in args:
        try:
            named[arg.default_alias] = arg
        except (AttributeError, TypeError):
            return None
    if not all(hasattr(each, "resolve_expression") for each in named.values()):
        return None
    return named


def _kind_of(aggregates: Mapping[str, Any]) -> Hashable:
    """What tells these aggregates from others, None if there is more to them than is known."""
    try:
        kind = tuple((alias, identity_of(aggregate)) for alias, aggregate in aggregates.items())
        hash(kind)
    except (Shapeless, TypeError):
        return None
    return "aggregate", kind


class ManagerMixin(BaseManager[Model]):
    """What managers get: the methods of querysets that steer caching."""

    def cache(self, *args: Any, **kwargs: Any) -> Any:
        """`QuerySetMixin.cache` of all objects."""
        return self.get_queryset().cache(*args, **kwargs)  # type: ignore[attr-defined]

    def nocache(self) -> Any:
        """`QuerySetMixin.nocache` of all objects."""
        return self.get_queryset().nocache()  # type: ignore[attr-defined]

    def inplace(self) -> Any:
        """`QuerySetMixin.inplace` of all objects."""
        return self.get_queryset().inplace()  # type: ignore[attr-defined]

    def invalidated_update(self, **kwargs: Any) -> int:
        """`QuerySetMixin.invalidated_update` of all objects."""
        return self.get_queryset().invalidated_update(**kwargs)  # type: ignore[attr-defined]


def install() -> None:
    """Mix the mixins into Django's classes, which offer no hook into reads."""
    patches.mix(QuerySet, QuerySetMixin)
    patches.mix(BaseManager, ManagerMixin)


def uninstall() -> None:
    """Give Django's classes their own methods back."""
    patches.undo()


patches = Patches()
original = patches.original
