"""The common base of `RedisCache` and `FileCache`: values by key, results of functions, and pages of views.

Keys start with the prefix and ``@col:c:``.  The letter that follows says what a key is of: ``k:`` a user's key, ``f:``
a call of a function, ``u:`` the record of a URL, ``p:`` a page.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

from ..conf import settings
from ..store import MISS, digest, prefix_of, simple_key
from ..utils import error_boundary
from .backend_api import CacheMiss, LowLevelCache, async_variant, checked_timeout
from .call_key import CallIdentifier, Function
from .view_cache import EntryOf, view_decorator

__all__ = ["BaseCache", "CacheKey"]

logger = logging.getLogger("cacheops_lite")


class CacheKey(str):
    """The key of a call, with methods to get, set and delete its cached result."""

    cache: Any
    timeout: float | None

    @classmethod
    def make(cls, value: str, cache: Any = None, timeout: float | None = None) -> CacheKey:
        self = cls(value)
        self.cache, self.timeout = cache, timeout
        return self

    def get(self) -> Any:
        """Return the cached result.  Raises CacheMiss when there is none."""
        value = self.cache.load(str(self))
        if value is MISS:
            raise CacheMiss(str(self))
        return value

    def set(self, value: Any) -> None:
        """Make `value` the cached result, for the timeout of the decorator."""
        self.cache.keep(str(self), value, self.timeout)

    def delete(self) -> None:
        """Delete the cached result.  For a view, delete all cached pages of the URL."""
        self.cache.drop(str(self))

    aget, aset, adelete = async_variant(get), async_variant(set), async_variant(delete)


class BaseCache(LowLevelCache):
    """Django's low-level cache API, and decorators for functions and views."""

    def cached(self, timeout: Any = None, extra: Any = None) -> Any:
        """Cache results of a function, or coroutine function, for `timeout` seconds: ``@cached`` or ``@cached(60)``.

        `extra` is what a result depends on besides the arguments: a value, or a callable that gets the arguments.
        The decorated function has ``invalidate(...)`` and ``ainvalidate(...)``, which delete the result of a call, and
        ``key(...)``, which returns the `CacheKey` of a call.

        Raises TypeError or ValueError for an invalid timeout.  A call raises TypeError for an argument that a cache key
        can't identify, such as an instance that is not saved.
        """
        if callable(timeout):
            return self.cached()(timeout)
        results = _SimpleResultCache(self, checked_timeout(timeout, "cached()"))
        return lambda func: _decorated(results, func, extra)

    def cached_view(self, timeout: Any = None, extra: Any = None) -> Any:
        """Cache GETs and HEADs of a view, sync or async, for `timeout` seconds, with or without parentheses.

        `extra` is what a page depends on besides the URL, the view's arguments and the headers that it varies by: a
        value, or a callable that gets the arguments.  Responses that Django's cache middleware would not cache are not
        cached.  The decorated view has ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which
        invalidate all pages of a URL, and ``key(request or absolute URI, ...)``, which returns a page's `CacheKey`.

        Raises what `cached` raises.
        """
        if callable(timeout):
            return self.cached_view()(timeout)
        results = _SimpleResultCache(self, checked_timeout(timeout, "cached_view()"))
        return view_decorator(results, extra, CacheKey.make)


class _SimpleResultCache:
    """Keeps results of functions in `backend` for `timeout` seconds."""

    def __init__(self, backend: BaseCache, timeout: float | None):
        self.backend, self.timeout = backend, timeout

    def read(self, func: Function, name: str, compute: Callable[[], Any], entry_of: EntryOf) -> Any:
        value = self.backend.load(_key(func, name))
        if value is MISS:
            value = compute()
            self._fill(func, entry_of, value)
        return value

    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], entry_of: EntryOf) -> Any:
        value = await sync_to_async(self.backend.load)(_key(func, name))
        if value is MISS:
            value = await compute()
            await sync_to_async(self._fill)(func, entry_of, value)
        return value

    def _fill(self, func: Function, entry_of: EntryOf, value: Any) -> None:
        entry = entry_of(value)
        if entry is None:
            return
        key = _key(func, entry[0])
        try:
            data = self.backend.encode(key, entry[1])
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            label = getattr(func, "__qualname__", None) or type(func).__qualname__
            if error_boundary.is_first_report(("unstorable", label)):
                logger.warning(
                    "Can't cache a result of %s: it does not serialize (%s)",
                    label,
                    error_boundary.describe_error(error),
                )
            return
        self.backend._store(key, data, self.timeout)


def _decorated(results: _SimpleResultCache, func: Function, extra: Any) -> Any:
    identifier = CallIdentifier(func)

    def name_of(args: Any, kwargs: Any) -> str:
        extra_value = extra(*args, **kwargs) if callable(extra) else extra
        return "f:" + digest(identifier.identify(args, kwargs, extra_value))

    def key(*args: Any, **kwargs: Any) -> CacheKey:
        return CacheKey.make(_key(func, name_of(args, kwargs)), results.backend, results.timeout)

    def invalidate(*args: Any, **kwargs: Any) -> None:
        key(*args, **kwargs).delete()

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return func(*args, **kwargs)
        name = name_of(args, kwargs)
        return results.read(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    @wraps(func)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return await func(*args, **kwargs)
        name = name_of(args, kwargs)
        return await results.aread(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    wrapper: Any = acall if iscoroutinefunction(func) else call
    wrapper.key, wrapper.invalidate, wrapper.ainvalidate = key, invalidate, sync_to_async(invalidate)
    return wrapper


def _key(func: Function, name: str) -> str:
    return simple_key(prefix_of(CallIdentifier(func).func), name)
