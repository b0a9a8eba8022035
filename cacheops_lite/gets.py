"""The ways of ``get()``: the memory of this process where asked for, the direct path, else Django's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from django.db.models.query import ModelIterable
from django.db.models.sql.query import Query

from . import direct, local
from .caching import caches, caching_of, require_caching
from .images import tables_of
from .prefixes import prefix_of
from .store import MISS

Usual = Callable[[Any], Any]


def get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], usual: Usual) -> Any:
    """The object that meets the conditions; `usual` is Django's own get() of a queryset, with the same conditions."""
    key = _local_key(queryset, args, kwargs)
    if key is None:
        return _get(queryset, args, kwargs, usual)
    found, since = local.recall(key), local.version()
    if found is MISS:
        found = _get(queryset, args, kwargs, usual)
        tables = [table.name for table in tables_of(queryset.model)]
        local.remember(key, found, tables, require_caching(queryset).timeout, since)
    # What a caller changes on his one is not for others.
    return copy.copy(found)


def _get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], usual: Usual) -> Any:
    caching = caches(queryset, "get") or caches(queryset, "fetch")
    if caching is None:
        return usual(queryset)
    condition = direct.condition_of(args, kwargs)
    found = MISS if condition is None else direct.get(queryset, caching, condition, usual)
    return usual(fetching_as_get(queryset)) if found is MISS else found


def fetching_as_get(queryset: Any) -> Any:
    """`queryset`, or where ``get`` is cached and ``fetch`` is not, a clone that caches its fetch."""
    caching = caching_of(queryset)
    if caching is None or "get" not in caching.ops or "fetch" in caching.ops:
        return queryset
    if queryset._result_cache is not None:
        return queryset
    clone = queryset._clone()
    clone._cacheops_caching = replace(caching, ops=caching.ops | {"fetch"})
    return clone


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
