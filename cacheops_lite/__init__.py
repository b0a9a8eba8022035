"""An automatic, Redis-backed ORM query cache for Django that never serves stale data."""

from .explaining import CacheReport, explain
from .functions import (
    CacheMiss,
    FileCache,
    RedisCache,
    cache,
    cached,
    cached_as,
    cached_view,
    cached_view_as,
    file_cache,
)
from .reaper import reap_conjs
from .templatetags.cacheops import CacheopsLibrary, invalidate_fragment
from .writes import InvalidationError, invalidate_all, invalidate_model, invalidate_obj, no_invalidation

__version__ = "0.1.0"
VERSION = tuple(int(part) for part in __version__.split("."))

__all__ = [
    "CacheMiss",
    "CacheReport",
    "CacheopsLibrary",
    "FileCache",
    "InvalidationError",
    "RedisCache",
    "cache",
    "cached",
    "cached_as",
    "cached_view",
    "cached_view_as",
    "explain",
    "file_cache",
    "invalidate_all",
    "invalidate_fragment",
    "invalidate_model",
    "invalidate_obj",
    "no_invalidation",
    "reap_conjs",
]
