"""Querysets that read through the cache, and their managers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote

from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import ModelIterable
from django.db.models.sql.query import Query

from . import compiled, conf, direct, local, mass, writes
from .caching import Caching, caches, caching_of, fetch, require_caching, value
from .conf import ALL_OPS
from .images import tables_of
from .invalidation import is_active
from .prefixes import prefix_of
from .scope import is_watched
from .shapes import Shapeless, identity_of
from .signals import post_update, pre_update
from .store import MISS
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
        key = _local_key(self, args, kwargs)
        if key is None:
            return _get(self, args, kwargs)
        found, since = local.recall(key), local.version()
        if found is MISS:
            found = _get(self, args, kwargs)
            model: Any = self.model
            tables = [table.name for table in tables_of(model)]
            local.remember(key, found, tables, require_caching(self).timeout, since)
        # What a caller changes on his one is not for others.
        return copy.copy(found)

    def first(self) -> Any:
        return original(QuerySet, "first")(_fetching_as_get(self))

    def last(self) -> Any:
        return original(QuerySet, "last")(_fetching_as_get(self))

    def in_bulk(self, id_list: Any = None, *, field_name: str = "pk") -> dict[Any, Any]:
        in_bulk = original(QuerySet, "in_bulk")
        return in_bulk(_fetching_as_get(self), id_list, field_name=field_name)


@cache
def _uncached(caching: Caching) -> Caching:
    return replace(caching, ops=frozenset(), asked_for=True)


def _get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    get = original(QuerySet, "get")
    caching = caches(queryset, "get") or caches(queryset, "fetch")
    if caching is None:
        return get(queryset, *args, **kwargs)
    condition = direct.condition_of(args, kwargs)
    if condition is not None:
        found = direct.get(queryset, caching, condition, lambda clone: get(clone, *args, **kwargs))
        if found is not MISS:
            return found
    return get(_fetching_as_get(queryset), *args, **kwargs)


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


def _local_key(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    """The key of a simple get in the memory of this process; None where there is none, or the get is not simple."""
    caching = caching_of(queryset)
    if caching is None or not caching.local_get or args or not kwargs or caches(queryset, "get") is None:
        return None
    query = queryset.query
    is_simple = (
        queryset._iterable_class is ModelIterable
        and not (query.where.children or query.annotations or query.extra or queryset._prefetch_related_lookups)
        and not (query.select_related or query.is_sliced or query.combinator or query.distinct)
        and query.deferred_loading == Query.deferred_loading
    )
    conditions = tuple((name, type(kwargs[name]), kwargs[name]) for name in sorted(kwargs))
    try:
        hash(conditions)
    except TypeError:
        return None
    if not is_simple:
        return None
    using = queryset.db
    prefix = prefix_of(dbs=[using], tables=[unquote(table.name) for table in tables_of(queryset.model)])
    return prefix, type(queryset), queryset.model, using, conditions


def _fetching_as_get(queryset: Any) -> Any:
    """`queryset`, or where ``get`` is cached and ``fetch`` is not, a clone that caches its fetch."""
    caching = caching_of(queryset)
    if caching is None or "get" not in caching.ops or "fetch" in caching.ops:
        return queryset
    if queryset._result_cache is not None:
        return queryset
    clone = queryset._clone()
    clone._cacheops_caching = replace(caching, ops=caching.ops | {"fetch"})
    return clone


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


# Django offers no hook into the reads of a queryset: these classes are patched.
_PATCHED = ((QuerySet, QuerySetMixin), (BaseManager, ManagerMixin))
_originals: dict[type, dict[str, Any]] = {}


def install() -> None:
    """Mix the mixins into Django's classes."""
    for django_class, mixin in _PATCHED:
        if django_class in _originals:
            continue
        methods = {name: each for name, each in vars(mixin).items() if callable(each)}
        _originals[django_class] = {name: vars(django_class).get(name) for name in methods}
        for name, method in methods.items():
            # What keeps templates from calling it, and managers from having it.
            for mark in ("alters_data", "queryset_only"):
                if hasattr(_originals[django_class][name], mark):
                    setattr(method, mark, getattr(_originals[django_class][name], mark))
            setattr(django_class, name, method)


def uninstall() -> None:
    """Give Django's classes their own methods back."""
    for django_class, methods in _originals.items():
        for name, method in methods.items():
            if method is None:
                delattr(django_class, name)
            else:
                setattr(django_class, name, method)
    _originals.clear()


def original(django_class: type, name: str) -> Any:
    """Django's own method, which one of ours stands before."""
    return _originals[django_class][name]
