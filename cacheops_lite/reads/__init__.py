"""The way of a read: whether it may be cached here and now, the lookup in the cache, else the database and the fill;
and a shorter way for ``get()`` of one row.

Not here: keys and dependencies of a query (`query`) and the commands sent to Redis (`store`).
"""

from . import get_method
from .cache_policy import Caching, caches, caching_of, fetch, is_left_out, on_one_database, require_caching, value
from .cached_read import Target, Under, aread_through, read_through
from .get_method import fetching_as_get

__all__ = [
    "Caching",
    "Target",
    "Under",
    "aread_through",
    "caches",
    "caching_of",
    "fetch",
    "fetching_as_get",
    "get_method",
    "is_left_out",
    "on_one_database",
    "read_through",
    "require_caching",
    "value",
]
