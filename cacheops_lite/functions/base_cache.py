"""What the simple cache and the file cache have in common: values by key, results of calls and pages of views.

Names are whole keys, which tell after the prefix and ``@col:c:`` what they are of: ``k:`` a user's key, ``f:`` a call,
``u:`` a URL's record, ``p:`` a page.
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
from .backend_api import CacheMiss, LowLevelCache, checked_timeout, threaded
from .call_key import Callee, Function
from .view_cache import Place, view_decorator

__all__ = ["BaseCache", "CacheKey"]

logger = logging.getLogger("cacheops_lite")


class CacheKey(str):
    """The key of a call: what is cached for it can be got, set and deleted."""

    cache: Any
    timeout: float | None

    @classmethod
    def make(cls, value: str, cache: Any = None, timeout: float | None = None) -> CacheKey:
        self = cls(value)
        self.cache, self.timeout = cache, timeout
        return self

    def get(self) -> Any:
        """The cached result.  Raises CacheMiss when there is none."""
        value = self.cache.load(str(self))
        if value is MISS:
            raise CacheMiss(str(self))
        return value

    def set(self, value: Any) -> None:
        """Make `value` the result, for the timeout of the decorator."""
        self.cache.keep(str(self), value, self.timeout)

    def delete(self) -> None:
        """Forget the result; of a view, all that is cached for the URL."""
        self.cache.drop(str(self))

    aget, aset, adelete = threaded(get), threaded(set), threaded(delete)


class BaseCache(LowLevelCache):
    """Django's low-level cache API, and decorators."""

    def cached(self, timeout: Any = None, extra: Any = None) -> Any:
        """Cache results of a function, or coroutine function, for `timeout` seconds: ``@cached`` or ``@cached(60)``.

        What a result depends on besides the arguments is `extra`, a value or a callable that gets the arguments.
        The function gets ``invalidate(...)`` and ``ainvalidate(...)``, which forget the result of a call, and
        ``key(...)``, the `CacheKey` of one.  Raises TypeError or ValueError for a timeout that makes no sense, and when
        called, TypeError for an argument that can't be told from others, such as an instance that is not saved.
        """
        if callable(timeout):
            return self.cached()(timeout)
        calls = _Calls(self, checked_timeout(timeout, "cached()"))
        return lambda func: _cached(calls, func, extra)

    def cached_view(self, timeout: Any = None, extra: Any = None) -> Any:
        """Cache GETs and HEADs of a view, sync or async, for `timeout` seconds, with or without parentheses.

        What a page depends on besides the URL, the view's arguments and what it varies by is `extra`, a value or a
        callable that gets the arguments.  What Django's cache middleware would not keep is not kept.
        The view gets ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which forget all pages of a URL,
        and ``key(request or absolute URI, ...)``, the `CacheKey` of one.  Raises what `cached` does.
        """
        if callable(timeout):
            return self.cached_view()(timeout)
        calls = _Calls(self, checked_timeout(timeout, "cached_view()"))
        return view_decorator(calls, extra, CacheKey.make)


class _Calls:
    """Calls whose results `memory` keeps for `timeout` seconds."""

    def __init__(self, memory: BaseCache, timeout: float | None):
        self.memory, self.timeout = memory, timeout

    def read(self, func: Function, name: str, compute: Callable[[], Any], place: Place) -> Any:
        value = self.memory.load(_key(func, name))
        if value is MISS:
            value = compute()
            self._keep(func, place, value)
        return value

    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], place: Place) -> Any:
        value = await sync_to_async(self.memory.load)(_key(func, name))
        if value is MISS:
            value = await compute()
            await sync_to_async(self._keep)(func, place, value)
        return value

    def _keep(self, func: Function, place: Place, value: Any) -> None:
        placed = place(value)
        if placed is None:
            return
        name = _key(func, placed[0])
        try:
            data = self.memory.encode(name, placed[1])
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
        self.memory._store(name, data, self.timeout)


def _cached(calls: _Calls, func: Function, extra: Any) -> Any:
    callee = Callee(func)

    def name_of(args: Any, kwargs: Any) -> str:
        said = extra(*args, **kwargs) if callable(extra) else extra
        return "f:" + digest(callee.name(args, kwargs, said))

    def key(*args: Any, **kwargs: Any) -> CacheKey:
        return CacheKey.make(_key(func, name_of(args, kwargs)), calls.memory, calls.timeout)

    def invalidate(*args: Any, **kwargs: Any) -> None:
        key(*args, **kwargs).delete()

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return func(*args, **kwargs)
        name = name_of(args, kwargs)
        return calls.read(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    @wraps(func)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return await func(*args, **kwargs)
        name = name_of(args, kwargs)
        return await calls.aread(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    wrapper: Any = acall if iscoroutinefunction(func) else call
    wrapper.key, wrapper.invalidate, wrapper.ainvalidate = key, invalidate, sync_to_async(invalidate)
    return wrapper


def _key(func: Function, name: str) -> str:
    return simple_key(prefix_of(Callee(func).func), name)
