"""The ways of ``get()``: the direct path, else Django's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..store import MISS
from . import point_lookup
from .cache_policy import caches, caching_of


def get(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], usual: Callable[..., Any]) -> Any:
    """The object that meets the conditions; `usual` is Django's own get(), unbound."""
    caching = caches(queryset, "get") or caches(queryset, "fetch")
    if caching is None:
        return usual(queryset, *args, **kwargs)
    condition = point_lookup.condition_of(args, kwargs)
    if condition is not None:
        found = point_lookup.get(queryset, caching, condition, lambda clone: usual(clone, *args, **kwargs))
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
