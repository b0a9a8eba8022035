"""The common base of `RedisCache` and `FileCache`: values by key, results of functions, and pages of views.

Keys start with the prefix and ``cacheops:s:`` (see `store.keys`).  The next letter is the kind of entry: ``k:`` a value
by its key, ``f:`` the result of a call, ``u:`` the record of a URL, ``p:`` a page.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from asgiref.sync import iscoroutinefunction, sync_to_async

from ..conf import settings
from ..store import MISS, digest, prefix_of, simple_key
from ..utils import error_boundary
from .backend_api import LowLevelCache, checked_timeout
from .cache_key import CacheKey
from .call_key import CallIdentifier, Function
from .decorated import CachedDecorator, CachedFunction, CachedView, CachedViewDecorator, Request
from .view_cache import EntryOf, view_decorator

logger = logging.getLogger("cacheops_lite")

P = ParamSpec("P")
R = TypeVar("R")


class BaseCache(LowLevelCache):
    """Django's low-level cache API, and decorators for functions and views."""

    @overload
    def cached(self, timeout: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(self, timeout: float | None = None, extra: Any = None) -> CachedDecorator: ...
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

    @overload
    def cached_view(self, timeout: Callable[Concatenate[Request, P], R], /) -> CachedView[Request, P, R]: ...
    @overload
    def cached_view(self, timeout: float | None = None, extra: Any = None) -> CachedViewDecorator: ...
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
