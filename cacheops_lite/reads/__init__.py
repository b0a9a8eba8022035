"""DOOR"""

from . import get_method
from .cache_policy import Caching, caches, caching_of, fetch, is_left_out, on_one_database, require_caching, value
from .get_method import fetching_as_get
from .read_through import Target, Under, aread_through, read_through

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
