"""Read ``get()`` through the cache: by a point lookup, or by Django's own ``get()`` with a cached fetch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..store import MISS
from . import point_lookup
from .cache_policy import active_policy, policy_of


def get_object(queryset: Any, args: tuple[Any, ...], kwargs: dict[str, Any], django_get: Callable[..., Any]) -> Any:
    """Return the object that meets the conditions.  `django_get` is Django's own ``get()``, unbound."""
    policy = active_policy(queryset, "get") or active_policy(queryset, "fetch")
    if not policy:
        # Django's get() evaluates a clone, whose fetch is published.
        return django_get(queryset, *args, **kwargs)
    condition = point_lookup.only_condition(args, kwargs)
    if condition is not None:
        found = point_lookup.get(queryset, policy, condition, lambda clone: django_get(clone, *args, **kwargs))
        if found is not MISS:
            return found
    return django_get(with_fetch_cached_as_get(queryset), *args, **kwargs)


def with_fetch_cached_as_get(queryset: Any) -> Any:
    """Return `queryset`, or a clone that caches its fetch, where the profile caches ``get`` but not ``fetch``."""
    policy = policy_of(queryset)
    if policy is None or "get" not in policy.ops or "fetch" in policy.ops:
        return queryset
    if queryset._result_cache is not None:
        return queryset
    clone = queryset._clone()
    clone._cacheops_policy = replace(policy, ops=policy.ops | {"fetch"})
    return clone
