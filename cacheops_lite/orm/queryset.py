"""Querysets that read through the cache, and their managers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from .. import conf
from ..conf import ALL_OPS
from ..query import NotIdentifiable, compiler, identity_of
from ..reads import (
    CachePolicy,
    active_policy,
    cached_results,
    cached_value,
    get_method,
    is_uncached,
    pin_database,
    policy_of,
    require_policy,
    with_fetch_cached_as_get,
)
from ..schema import is_tracked, is_tracked_table
from ..signals import post_update, pre_update
from ..utils import Patches, call_or_default
from ..writes import block, bulk_persistence, is_active, persistence, unit_of_work_for


class QuerySetMixin(QuerySet[Any]):
    """What querysets get: caching of their reads, and the methods that steer it."""

    # As defaults of the class: asking an instance for its ``__dict__`` makes Python slower at all its attributes.
    _cacheops_policy: CachePolicy | None = None
    _cacheops_cloning: int | None = None
    _cacheops_capture: Any = None

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
        policy = require_policy(self)
        self._cacheops_policy = CachePolicy(
            ops=ALL_OPS if ops is None else conf.parse_ops(ops, where),
            timeout=policy.timeout if timeout is None else conf.parse_timeout(timeout, where),
            lock=policy.lock if lock is None else lock,
            db_agnostic=policy.db_agnostic,
            local_get=policy.local_get,
            is_explicit=True,
        )
        return self

    def nocache(self) -> QuerySetMixin:
        """Don't cache this queryset and those made from it."""
        policy = policy_of(self)
        if policy is not None:
            self._cacheops_policy = _uncached(policy)
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
        clone = django._clone(self).select_related(None)
        clone._for_write = True
        if not is_active():
            return clone.update(**kwargs)

        def perform(rows: Any) -> int:
            return django.update(rows, **kwargs)

        return _signalled(clone, kwargs, lambda: bulk_persistence.update_invalidated(clone.nocache(), kwargs, perform))

    invalidated_update.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        self._for_write = True

        def perform() -> int:
            return django.update(self, **kwargs)

        model: Any = self.model
        is_refused = self.query.combinator or self.query.is_sliced
        if is_refused or not is_tracked_table(model, self.db) or not is_active():
            return _signalled(self, kwargs, perform)
        return _signalled(self, kwargs, lambda: bulk_persistence.update(self, kwargs, perform))

    def _raw_delete(self, using: Any) -> int:
        model: Any = self.model
        if not is_tracked_table(model, using) or not is_active():
            return django._raw_delete(self, using)
        return bulk_persistence.delete(self, using, lambda: django._raw_delete(self, using))

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        updates = len(args) > 2 or kwargs.get("update_conflicts")
        ignores = (args[1] if len(args) > 1 else kwargs.get("ignore_conflicts")) and not self.model._meta.auto_created
        model: Any = self.model
        if not is_tracked(model) or not is_active():
            return django.bulk_create(self, objs, *args, **kwargs)
        self._for_write = True
        # A generator may write, too: not in a transaction of ours.
        using, objs = self.db, list(objs)
        # Made in one transaction, so that what is known of the rows is recorded before anybody sees them.
        with block(using):
            if updates or (ignores and connections[using].vendor == "mysql"):
                # Which rows Django does not tell; nor what MariaDB and MySQL make of values that don't fit, which they
                # store nevertheless.  (Those of many-to-many tables are keys of rows that are there.)
                return django.bulk_create(self, objs, *args, **kwargs)
            before = persistence.held_before(self.model, objs)
            with unit_of_work_for(using).describing("insert", self.model._meta.db_table):
                created = django.bulk_create(self, objs, *args, **kwargs)
            persistence.created(self.model, created, using, before)
        return created

    def clone(self) -> QuerySet[Any]:
        """A copy, also of a queryset that changes in place; the copy then does so, too."""
        copied = django._clone(self)
        copied._cacheops_policy = self._cacheops_policy
        copied._cacheops_capture = self._cacheops_capture
        if self._cacheops_cloning is not None:
            copied._cacheops_cloning = max(self._cacheops_cloning - 1, 0)
        return copied

    def _clone(self) -> QuerySet[Any]:
        if self._cacheops_cloning is None and self._cacheops_capture is None:
            # Most of them, and they are copied in each of their methods.
            copied = django._clone(self)
            if self._cacheops_policy is not None:
                copied._cacheops_policy = self._cacheops_policy
            return copied
        if self._cacheops_cloning != 0:
            return QuerySetMixin.clone(self)
        self._result_cache = None
        self._prefetch_done = False
        return self

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            if self._cacheops_capture is not None:
                self._result_cache = self._cacheops_capture.results(self)
            elif not is_uncached(self):
                # None, if it is not to be cached, leaves it to Django.
                self._result_cache = cached_results(pin_database(self))
        django._fetch_all(self)

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # It refuses what it can't do, and does nothing else yet.
        found = django.iterator(self, *args, **kwargs)
        return iter(QuerySetMixin.clone(self)) if _is_explicitly_cached(self) else found

    def aiterator(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return (
            aiter(QuerySetMixin.clone(self)) if _is_explicitly_cached(self) else django.aiterator(self, *args, **kwargs)
        )

    def count(self) -> int:
        if self._result_cache is not None or is_uncached(self):
            return django.count(self)
        queryset = pin_database(self)
        return cached_value(
            queryset,
            "count",
            lambda query, tokens: compiler.compile_count(query, queryset.db, tokens),
            lambda: django.count(queryset),
            "count",
        )

    def exists(self) -> bool:
        if self._result_cache is not None or is_uncached(self):
            return django.exists(self)
        queryset = pin_database(self)
        return cached_value(
            queryset,
            "exists",
            lambda query, tokens: compiler.compile_exists(query, queryset.db, tokens),
            lambda: django.exists(queryset),
            "exists",
        )

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        what = "An aggregate is not cached, as it can't be analysed"
        named = None if is_uncached(self) else call_or_default(what, lambda: _named(args, kwargs), None)
        if not named:
            return django.aggregate(self, *args, **kwargs)
        queryset = pin_database(self)
        return cached_value(
            queryset,
            "aggregate",
            lambda query, tokens: compiler.compile_aggregates(query, queryset.db, named, tokens),
            lambda: django.aggregate(queryset, *args, **kwargs),
            call_or_default(what, lambda: _kind_of(named), None),
        )

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if is_uncached(self):
            return django.get(self, *args, **kwargs)
        return get_method.get_object(pin_database(self), args, kwargs, django.get)

    def first(self) -> Any:
        return django.first(with_fetch_cached_as_get(self))

    def last(self) -> Any:
        return django.last(with_fetch_cached_as_get(self))

    def in_bulk(self, id_list: Any = None, *, field_name: str = "pk") -> dict[Any, Any]:
        return django.in_bulk(with_fetch_cached_as_get(self), id_list, field_name=field_name)


def _is_explicitly_cached(queryset: Any) -> bool:
    """``cache()`` was called, so that even what is meant to be read once and forgotten is kept."""
    policy = active_policy(queryset, "fetch")
    return policy is not None and policy.is_explicit


@cache
def _uncached(policy: CachePolicy) -> CachePolicy:
    return replace(policy, ops=frozenset(), is_explicit=True)


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
    except (NotIdentifiable, TypeError):
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
    patches.mix_in(QuerySet, QuerySetMixin)
    patches.mix_in(BaseManager, ManagerMixin)


def uninstall() -> None:
    """Give Django's classes their own methods back."""
    patches.undo()


patches = Patches()
# Django's own methods, while ours stand before them.
django = patches.originals(QuerySet)
