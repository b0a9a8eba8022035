"""Querysets that read through the cache, and the methods that managers get for that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.db.models.manager import BaseManager

from .. import conf
from ..conf import ALL_OPS, Operation, Ops
from ..observe import Bypass, Reason
from ..query import compiler
from ..reads import (
    CachePolicy,
    CacheReport,
    active_policy,
    aggregates_kind,
    cached_results,
    cached_value,
    explain_queryset,
    get_method,
    is_uncached,
    pin_database,
    policy_of,
    record_bypass,
    require_policy,
    with_fetch_cached_as_get,
)
from ..schema import is_tracked, is_tracked_table
from ..signals import post_update, pre_update
from ..utils import Patches, call_or_default
from ..writes import instance_writes, is_active, queryset_writes, unit_of_work_for, write_transaction
from .manager import ManagerMixin


class QuerySetMixin(QuerySet[Any]):
    """The methods that are put into `QuerySet`: reads through the cache, and control of caching."""

    # Defaults of the class, as reading an instance's ``__dict__`` makes CPython slower at all of its attributes.
    _cacheops_policy: CachePolicy | None = None
    _cacheops_cloning: int | None = None
    _cacheops_capture: Any = None

    def cache(
        self,
        ops: Ops | None = None,
        timeout: int | None = None,
        lock: bool | None = None,
    ) -> QuerySetMixin:
        """Cache `ops` of this queryset and of those derived from it.

        `ops` is one or several of ``get``, ``fetch``, ``count``, ``exists``, ``aggregate``; None means all, ``[]``
        none.  `timeout` is in seconds.  `lock` prevents cache stampedes: of several concurrent misses, one queries the
        database and the others wait for its result.  Arguments that are None are taken from the model's profile.

        Raises ImproperlyConfigured for a model without a profile and for invalid values.
        """
        where = f"{self.model._meta.label}: cache()"
        policy = require_policy(self)
        self._cacheops_policy = CachePolicy(
            ops=ALL_OPS if ops is None else conf.parse_ops(ops, where),
            timeout=policy.timeout if timeout is None else conf.parse_timeout(timeout, where),
            lock=policy.lock if lock is None else lock,
            db_agnostic=policy.db_agnostic,
            local_get=policy.local_get,
            near=policy.near,
            near_lease=policy.near_lease,
            is_explicit=True,
        )
        return self

    def nocache(self) -> QuerySetMixin:
        """Read from the database; do not cache this queryset or those derived from it."""
        return without_cache(self, Reason.NOCACHE)

    def explain_cache(self, operation: Operation = "fetch", *args: Any, **kwargs: Any) -> CacheReport:
        """Report whether `operation` of this queryset would come from the cache, and why or why not.

        `operation` is one of ``get``, ``fetch``, ``count``, ``exists``, ``aggregate``; the other arguments are those of
        ``get()`` or ``aggregate()``.  Reads nothing from the database and stores nothing.  Raises ValueError for an
        unknown operation.
        """
        return explain_queryset(self, operation, args, kwargs)

    def cloning(self, cloning: int = 1000) -> QuerySetMixin:
        """Make the next `cloning` method calls clone as usual; with 0 they change this queryset in place."""
        self._cacheops_cloning = cloning
        return self

    def inplace(self) -> QuerySetMixin:
        """Make methods change this queryset in place instead of cloning it."""
        return self.cloning(0)

    def invalidated_update(self, **kwargs: Any) -> int:
        """Update like ``update(**kwargs)``, and invalidate by the before and after image of each row.

        Returns the number of rows.
        """
        clone = django._clone(self).select_related(None)
        clone._for_write = True
        if not is_active():
            return clone.update(**kwargs)

        def perform(rows: Any) -> int:
            return django.update(rows, **kwargs)

        return _update_with_signals(
            clone, kwargs, lambda: queryset_writes.update_invalidated(clone.nocache(), kwargs, perform)
        )

    invalidated_update.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        self._for_write = True

        def perform() -> int:
            return django.update(self, **kwargs)

        model: Any = self.model
        is_refused = self.query.combinator or self.query.is_sliced
        if is_refused or not is_tracked_table(model, self.db) or not is_active():
            return _update_with_signals(self, kwargs, perform)
        return _update_with_signals(self, kwargs, lambda: queryset_writes.update(self, kwargs, perform))

    def _raw_delete(self, using: Any) -> int:
        model: Any = self.model
        if not is_tracked_table(model, using) or not is_active():
            return django._raw_delete(self, using)
        return queryset_writes.delete(self, using, lambda: django._raw_delete(self, using))

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        updates = len(args) > 2 or kwargs.get("update_conflicts")
        ignores = (args[1] if len(args) > 1 else kwargs.get("ignore_conflicts")) and not self.model._meta.auto_created
        model: Any = self.model
        if not is_tracked(model) or not is_active():
            return django.bulk_create(self, objs, *args, **kwargs)
        self._for_write = True
        # Before our transaction begins, as a generator may write, too.
        using, objs = self.db, list(objs)
        # One transaction, so that the rows are recorded before other connections can see them.
        with write_transaction(using):
            if updates or (ignores and connections[using].vendor == "mysql"):
                # It is not known which rows were updated.  With ``ignore_conflicts`` MariaDB and MySQL also change
                # values that do not fit; not in many-to-many tables, whose values are keys of other rows.
                return django.bulk_create(self, objs, *args, **kwargs)
            before = instance_writes.values_before_insert(self.model, objs)
            with unit_of_work_for(using).claiming("insert", self.model._meta.db_table):
                created = django.bulk_create(self, objs, *args, **kwargs)
            instance_writes.record_bulk_create(self.model, created, using, before)
        return created

    def clone(self) -> Any:
        """Return a copy, also of a queryset that changes in place; the copy changes in place, too."""
        copied = django._clone(self)
        copied._cacheops_policy = self._cacheops_policy
        copied._cacheops_capture = self._cacheops_capture
        if self._cacheops_cloning is not None:
            copied._cacheops_cloning = max(self._cacheops_cloning - 1, 0)
        return copied

    # Django copies all other methods to managers, where these two make no sense.
    cloning.queryset_only = clone.queryset_only = True  # type: ignore[attr-defined]

    def _clone(self) -> QuerySet[Any]:
        if self._cacheops_cloning is None and self._cacheops_capture is None:
            # The fast path: most querysets are copied by each method call.
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
            elif not is_uncached(self, "fetch"):
                # None if it is not to be cached: Django then reads from the database.
                self._result_cache = cached_results(pin_database(self))
        django._fetch_all(self)

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # Django checks its arguments here; it reads when it is iterated.
        found = django.iterator(self, *args, **kwargs)
        return iter(QuerySetMixin.clone(self)) if _is_explicitly_cached(self) else found

    def aiterator(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return (
            aiter(QuerySetMixin.clone(self)) if _is_explicitly_cached(self) else django.aiterator(self, *args, **kwargs)
        )

    def count(self) -> int:
        if self._result_cache is not None or is_uncached(self, "count"):
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
        if self._result_cache is not None or is_uncached(self, "exists"):
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
        named = None if is_uncached(self, "aggregate") else call_or_default(what, lambda: _by_alias(args, kwargs), None)
        if not named:
            return django.aggregate(self, *args, **kwargs)
        queryset = pin_database(self)
        return cached_value(
            queryset,
            "aggregate",
            lambda query, tokens: compiler.compile_aggregates(query, queryset.db, named, tokens),
            lambda: django.aggregate(queryset, *args, **kwargs),
            call_or_default(what, lambda: aggregates_kind(named), None),
            named,
        )

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if is_uncached(self, None):
            return django.get(self, *args, **kwargs)
        return get_method.get_object(pin_database(self), args, kwargs, django.get)

    def first(self) -> Any:
        return django.first(with_fetch_cached_as_get(self))

    def last(self) -> Any:
        return django.last(with_fetch_cached_as_get(self))

    def in_bulk(self, id_list: Any = None, *, field_name: str = "pk") -> dict[Any, Any]:
        return django.in_bulk(with_fetch_cached_as_get(self), id_list, field_name=field_name)


def _is_explicitly_cached(queryset: Any) -> bool:
    """Return whether ``cache()`` was called: only then ``iterator()``, which is meant to keep nothing, is cached."""
    policy = active_policy(queryset, "fetch")
    if not isinstance(policy, Bypass):
        if policy.is_explicit:
            return True
        policy = Bypass(Reason.ITERATOR)
    record_bypass(queryset, "fetch", policy)
    return False


@cache
def _uncached(policy: CachePolicy, reason: Reason) -> CachePolicy:
    return replace(policy, ops=frozenset(), is_explicit=True, bypass_reason=reason)


def without_cache(queryset: Any, reason: Reason) -> Any:
    """Let `queryset` read from the database; `reason` is what decisions and reports give."""
    policy = policy_of(queryset)
    if policy is not None:
        queryset._cacheops_policy = _uncached(policy, reason)
    return queryset


def _update_with_signals(queryset: Any, values: dict[str, Any], perform: Callable[[], int]) -> int:
    """Return the result of `perform`, which updates the queryset, and send ``pre_update`` and ``post_update``."""
    sender, using = queryset.model, queryset.db
    pre_update.send(sender=sender, queryset=queryset, values=values, using=using)
    rows = perform()
    post_update.send(sender=sender, queryset=queryset, values=values, using=using, rows=rows)
    return rows


def _by_alias(args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the aggregates by alias; None for arguments that Django will refuse with its own error."""
    named = dict(kwargs)
    for arg in args:
        try:
            named[arg.default_alias] = arg
        except (AttributeError, TypeError):
            return None
    if not all(hasattr(each, "resolve_expression") for each in named.values()):
        return None
    return named


def install() -> None:
    """Put the mixins' methods into Django's classes, as Django has no hook into reads."""
    patches.mix_in(QuerySet, QuerySetMixin)
    patches.mix_in(BaseManager, ManagerMixin)


def uninstall() -> None:
    """Restore Django's own methods."""
    patches.undo()


patches = Patches()
# Django's own methods while they are replaced.
django = patches.originals(QuerySet)
