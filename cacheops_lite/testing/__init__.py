"""Helpers for tests of projects that use the cache: a cache of its own for each test, and assertions.

Not here: the fixtures of pytest (`pytest_plugin`), which are made of these.
"""

from .assertions import assert_cached, assert_invalidates, assert_not_cached
from .cases import CacheopsTestMixin
from .isolation import as_autocommit, cache_disabled, fresh_cache

__all__ = [
    "CacheopsTestMixin",
    "as_autocommit",
    "assert_cached",
    "assert_invalidates",
    "assert_not_cached",
    "cache_disabled",
    "fresh_cache",
]
