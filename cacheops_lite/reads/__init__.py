"""Reads through the cache: whether a read may be cached now, the lookup, the database read on a miss, and the fill;
and the point lookup, a shorter path for ``get()`` of one row.

Not here: keys and dependencies of a query (`query`) and the commands sent to Redis (`store`).
"""

from . import get_method, origin
from .cache_policy import (
    CachePolicy,
    active_policy,
    is_uncached,
    pin_database,
    policy_of,
    record_bypass,
    require_policy,
)
from .cached_read import CacheEntry, KeyedValue, aread_through, read_through
from .explain import CacheReport, explain_call, explain_queryset
from .get_method import with_fetch_cached_as_get
from .queryset_read import cached_results, cached_value
from .verify import Verdict, entry_of_origin, origin_of, verify

__all__ = [
    "CacheEntry",
    "CachePolicy",
    "CacheReport",
    "KeyedValue",
    "Verdict",
    "active_policy",
    "aread_through",
    "cached_results",
    "cached_value",
    "entry_of_origin",
    "explain_call",
    "explain_queryset",
    "get_method",
    "is_uncached",
    "origin",
    "origin_of",
    "pin_database",
    "policy_of",
    "read_through",
    "record_bypass",
    "require_policy",
    "verify",
    "with_fetch_cached_as_get",
]
