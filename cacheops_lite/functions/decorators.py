"""``cached_as`` and ``cached_view_as``: results of functions and views that are invalidated like querysets."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async

from ..reads import CacheEntry, KeyedValue, aread_through, read_through
from ..store import MISS
from .call_key import Callee
from .redis_cache import cache
from .samples import Function, Samples
from .view_cache import Place, view_decorator


def cached_as(
    *samples: Any,
    timeout: int | None = None,
    extra: Any = None,
    lock: bool | None = None,
    keep_fresh: bool = False,
) -> Callable[[Function], Function]:
    """Cache results of a function, or coroutine function, and invalidate them like the `samples`.

    A sample is a queryset, a model or an instance.  Results are kept `timeout` seconds, by default the least of the
    samples' profiles; what a result depends on besides the samples and the arguments is `extra`, a value or a callable
    that gets the arguments.  With `lock`, by default if a profile says so, only one of many that miss at once computes.
    `keep_fresh` is accepted and always on: what is invalidated while the function runs is never kept.

    Raises TypeError for no sample or a wrong one, ImproperlyConfigured for a model without a profile.
    """
    # What a paginator has for an empty page.
    if len(samples) == 1 and isinstance(samples[0], list):
        return lambda func: func
    like = Samples.of(samples, timeout, lock, "cached_as()")

    def decorate(func: Function) -> Function:
        callee = Callee(func)

        def target(args: Any, kwargs: Any) -> CacheEntry | None:
            def name() -> str:
                return callee.name(args, kwargs, extra(*args, **kwargs) if callable(extra) else extra)

            return like.target(func, name)

        return _decorated_coroutine(func, target) if inspect.iscoroutinefunction(func) else _decorated(func, target)

    return decorate


def cached_view_as(
    *samples: Any,
    timeout: int | None = None,
    extra: Any = None,
    lock: bool | None = None,
    keep_fresh: bool = False,
) -> Callable[[Function], Function]:
    """Cache GETs and HEADs of a view, sync or async, and invalidate them like the `samples`.

    Samples, `timeout`, `lock` and `keep_fresh` are as for `cached_as`; what a page depends on besides its URL, the
    view's arguments and what it varies by is `extra`, a value or a callable that gets the view's arguments.  What
    Django's cache middleware would not keep is not kept.  The view gets ``invalidate(request or absolute URI)`` and
    ``ainvalidate(...)``, which forget all pages of a URL.  Raises what `cached_as` does.
    """
    if len(samples) == 1 and isinstance(samples[0], list):
        return lambda func: func
    like = Samples.of(samples, timeout, lock, "cached_view_as()")
    return view_decorator(_PagesLike(like), extra)


class _PagesLike:
    """Pages of views that fall like samples; the records of their URLs are in the simple cache."""

    memory = cache

    def __init__(self, like: Samples):
        self._like = like
        self.timeout = like.options.timeout

    def read(self, func: Function, name: str, compute: Callable[[], Any], place: Place) -> Any:
        target = self._target(func, name)
        if target is None:
            return compute()

        def compute_both() -> tuple[Any, Any]:
            response = compute()
            return response, self._storable(func, place, response)

        return read_through(target, compute_both, lambda response: response)

    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], place: Place) -> Any:
        target = await sync_to_async(self._target)(func, name)
        if target is None:
            return await compute()

        async def compute_both() -> tuple[Any, Any]:
            response = await compute()
            return response, await sync_to_async(self._storable)(func, place, response)

        return await aread_through(target, compute_both)

    def _target(self, func: Function, name: str) -> CacheEntry | None:
        return self._like.target(func, lambda: name)

    def _storable(self, func: Function, place: Place, response: Any) -> Any:
        placed = place(response)
        # What a response varies by is known only now: its place may be another one than was looked at.
        target = None if placed is None else self._target(func, placed[0])
        return MISS if placed is None or target is None else KeyedValue(target.key, placed[1])


def _decorated(func: Function, target_of: Callable[[Any, Any], CacheEntry | None]) -> Function:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        target = target_of(args, kwargs)
        if target is None:
            return func(*args, **kwargs)

        def compute() -> tuple[Any, Any]:
            result = func(*args, **kwargs)
            return result, result

        return read_through(target, compute, lambda result: result)

    return wrapper


def _decorated_coroutine(func: Function, target_of: Callable[[Any, Any], CacheEntry | None]) -> Function:
    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        # Transactions belong to the thread that the ORM runs in.
        target = await sync_to_async(target_of)(args, kwargs)
        if target is None:
            return await func(*args, **kwargs)

        async def compute() -> tuple[Any, Any]:
            result = await func(*args, **kwargs)
            return result, result

        return await aread_through(target, compute)

    return wrapper
