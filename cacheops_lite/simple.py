"""Re-export the simple cache under the import path of django-cacheops; the code is in `functions`."""

from .functions import BaseCache, CacheKey, CacheMiss, FileCache, RedisCache, cache, cached, cached_view, file_cache

__all__ = [
    "BaseCache",
    "CacheKey",
    "CacheMiss",
    "FileCache",
    "RedisCache",
    "cache",
    "cached",
    "cached_view",
    "file_cache",
]
