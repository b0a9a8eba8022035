"""Cache results of functions and views, and values by key: ``cached_as``, ``cached_view_as``, and the simple cache in
Redis or in files.  Template tags build on these decorators.

Not here: cached querysets (`orm`, `reads`).
"""

from . import decorators, redis_cache
from .backend_api import CacheMiss, checked_timeout
from .base_cache import BaseCache
from .cache_key import CacheKey
from .call_key import Function
from .decorated import CachedAsFunction, CachedAsView, CachedFunction, CachedView, Sample
from .decorators import cached_as, cached_view_as
from .filesystem_cache import FileCache, file_cache
from .redis_cache import RedisCache, cache, cached, cached_view

__all__ = [
    "BaseCache",
    "CacheKey",
    "CacheMiss",
    "CachedAsFunction",
    "CachedAsView",
    "CachedFunction",
    "CachedView",
    "FileCache",
    "Function",
    "RedisCache",
    "Sample",
    "cache",
    "cached",
    "cached_as",
    "cached_view",
    "cached_view_as",
    "checked_timeout",
    "decorators",
    "file_cache",
    "redis_cache",
]
