"""Reads through the cache: whether a read may be cached now (`cache_policy`); the lookup, the database read on a miss
and the fill (`cached_read`); and `point_lookup`, a shorter path for ``get()`` of one row.

Not here: keys and dependencies of a query (`query`) and the commands that are sent to Redis (`store.protocol`).
"""

from . import get_method, origin
from .cache_entry import CacheEntry, KeyedValue
from .cache_policy import (
    CachePolicy,
    active_policy,
    is_uncached,
    pin_database,
    policy_of,
    policy_of_model,
    record_bypass,
    require_policy,
)
from .cached_read import aread_through, read_through
from .explain import CacheReport, entry_of_origin, explain_call, explain_queryset, uncached
from .get_method import with_fetch_cached_as_get
from .origin import Origin, parse_origin
from .queryset_read import aggregates_kind, cached_results, cached_value

__all__ = [
    "CacheEntry",
    "CachePolicy",
    "CacheReport",
    "KeyedValue",
    "Origin",
    "active_policy",
    "aggregates_kind",
    "aread_through",
    "cached_results",
    "cached_value",
    "entry_of_origin",
    "explain_call",
    "explain_queryset",
    "get_method",
    "is_uncached",
    "origin",
    "parse_origin",
    "pin_database",
    "policy_of",
    "policy_of_model",
    "read_through",
    "record_bypass",
    "require_policy",
    "uncached",
    "with_fetch_cached_as_get",
]
