"""The ways of ``get()``: the memory of this process where asked for, the direct path, else Django's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from . import direct, local
from .caching import caches, caching_of, require_caching
from .images import table_names
from .prefixes import prefix_of
from .store import MISS

# Of JSON, arrays and the like; what else can be changed in place, others share.
MUTABLE = (dict, list, set, bytearray)


def get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], usual: Callable[..., Any]) -> Any:
    """The object that meets the conditions; `usual` is Django's own get(), unbound."""
    key = _local_key(queryset, args, kwargs)
    if key is None:
        return _get(queryset, args, kwargs, usual)
    found, since = local.recall(key), local.version()
    if found is MISS:
        found = _get(queryset, args, kwargs, usual)
        tables = table_names(queryset.model)
        local.remember(key, found, tables, require_caching(queryset).timeout, since)
    return _copied(found)


def _copied(found: Any) -> Any:
    """A copy: what a caller changes on his one is not for others."""
    copied = copy.copy(found)
    for name, value in copied.__dict__.items():
        if isinstance(value, MUTABLE):
            copied.__dict__[name] = copy.deepcopy(value)
    return copied


def _get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], usual: Callable[..., Any]) -> Any:
    caching = caches(queryset, "get") or caches(queryset, "fetch")
    if caching is None:
        return usual(queryset, *args, **kwargs)
    condition = direct.condition_of(args, kwargs)
    if condition is not None:
        found = direct.get(queryset, caching, condition, lambda clone: usual(clone, *args, **kwargs))
        if found is not MISS:
            return found
    return usual(fetching_as_get(queryset), *args, **kwargs)


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
    conditions = tuple((name, type(kwargs[name]), kwargs[name]) for name in sorted(kwargs))
    try:
        hash(conditions)
    except TypeError:
        return None
    if not direct.is_untouched(queryset):
        return None
    using = queryset.db
    prefix = prefix_of(dbs=[using], tables=map(unquote, sorted(table_names(queryset.model))))
    return prefix, type(queryset), queryset.model, using, conditions
