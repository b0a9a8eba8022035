"""``cached_as`` and ``cached_view_as``: cache results of functions and views, and invalidate them like querysets."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

from asgiref.sync import sync_to_async

from ..conf import Near
from ..reads import CacheEntry, CacheReport, KeyedValue, aread_through, origin, read_through
from ..store import MISS
from .call_key import CallIdentifier, Function
from .decorated import CachedAsDecorator, CachedAsViewDecorator, Sample
from .redis_cache import cache
from .samples import Samples
from .view_cache import EntryOf, view_decorator


def cached_as(
    *samples: Sample,
    timeout: int | None = None,
    extra: Any = None,
    lock: bool | None = None,
    keep_fresh: bool = False,
    near: Near | None = None,
) -> CachedAsDecorator:
    """Cache results of a function, or coroutine function, and invalidate them like the `samples`.

    A sample is a queryset, a model or an instance.

    `timeout` is in seconds, by default the shortest timeout of the samples' profiles.  `extra` is what a result depends
    on besides the samples and the arguments: a value, or a callable that gets the arguments.  `lock` prevents cache
    stampedes: of several concurrent misses, one computes and the others wait for its result.  By default `lock` is on
    if one of the profiles says so.  `keep_fresh` is accepted for compatibility and always on: a result that is
    invalidated while the function runs is never cached.  `near` is as in a profile: whether results are also
    kept in the near cache of each process; by default they are if the profiles of all samples say so.

    The decorated function has ``explain_cache(*args, **kwargs)``, which returns a `CacheReport` on that call.

    Raises TypeError for no sample or an invalid one, ImproperlyConfigured for a model without a profile.
    """
    # An empty page of a Django paginator is a list, not a queryset.
    if len(samples) == 1 and isinstance(samples[0], list):
        return _unchanged
    checked_samples = Samples.checked(samples, timeout, lock, "cached_as()", near)

    def decorate(func: Function) -> Any:
        identifier = CallIdentifier(func)

        def identify(args: Any, kwargs: Any) -> str:
            return identifier.identify(args, kwargs, extra(*args, **kwargs) if callable(extra) else extra)

        def target(args: Any, kwargs: Any) -> CacheEntry | None:
            found = checked_samples.target(func, lambda: identify(args, kwargs))
            if found is not None:
                found.origin = partial(origin.of_call, func, args, kwargs)
            return found

        def explain_cache(*args: Any, **kwargs: Any) -> CacheReport:
            """Report whether this call's result would come from the cache, and why or why not."""
            return checked_samples.explain(func, lambda: identify(args, kwargs))

        is_async = inspect.iscoroutinefunction(func)
        wrapper: Any = _async_wrapper(func, target) if is_async else _sync_wrapper(func, target)
        wrapper.explain_cache = explain_cache
        return wrapper

    return decorate


def cached_view_as(
    *samples: Sample,
    timeout: int | None = None,
    extra: Any = None,
    lock: bool | None = None,
    keep_fresh: bool = False,
    near: Near | None = None,
) -> CachedAsViewDecorator:
    """Cache GETs and HEADs of a view, sync or async, and invalidate them like the `samples`.

    Samples, `timeout`, `lock`, `keep_fresh` and `near` are as for `cached_as`.  `extra` is what a page depends on
    besides its URL, the view's arguments and the headers that it varies by: a value, or a callable that gets the view's
    arguments.
    Responses that Django's cache middleware would not cache are not cached.  The decorated view has
    ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which invalidate all pages of a URL.

    Raises what `cached_as` raises.
    """
    if len(samples) == 1 and isinstance(samples[0], list):
        return _unchanged
    checked_samples = Samples.checked(samples, timeout, lock, "cached_view_as()", near)
    return view_decorator(_SamplePageCache(checked_samples), extra)


def _unchanged(func: Function) -> Any:
    return func


class _SamplePageCache:
    """Caches pages that are invalidated like samples.  The records of their URLs are in the simple cache."""

    backend = cache

    def __init__(self, samples: Samples):
        self._samples = samples
        self.timeout = samples.options.timeout

    def read(self, func: Function, name: str, compute: Callable[[], Any], entry_of: EntryOf) -> Any:
        target = self._target(func, name)
        if target is None:
            return compute()

        def compute_result_and_storable() -> tuple[Any, Any]:
            response = compute()
            return response, self._storable(func, entry_of, response)

        return read_through(target, compute_result_and_storable, lambda response: response)

    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], entry_of: EntryOf) -> Any:
        target = await sync_to_async(self._target)(func, name)
        if target is None:
            return await compute()

        async def compute_result_and_storable() -> tuple[Any, Any]:
            response = await compute()
            return response, await sync_to_async(self._storable)(func, entry_of, response)

        return await aread_through(target, compute_result_and_storable)

    def _target(self, func: Function, name: str) -> CacheEntry | None:
        return self._samples.target(func, lambda: name)

    def _storable(self, func: Function, entry_of: EntryOf, response: Any) -> Any:
        entry = entry_of(response)
        # The headers that a page varies by are known only now, so its key may differ from the one that was read.
        target = None if entry is None else self._target(func, entry[0])
        return MISS if entry is None or target is None else KeyedValue(target.key, entry[1])


def _sync_wrapper(func: Function, target_of: Callable[[Any, Any], CacheEntry | None]) -> Function:
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


def _async_wrapper(func: Function, target_of: Callable[[Any, Any], CacheEntry | None]) -> Function:
    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        # The state of transactions belongs to the thread that the ORM runs in.
        target = await sync_to_async(target_of)(args, kwargs)
        if target is None:
            return await func(*args, **kwargs)

        async def compute() -> tuple[Any, Any]:
            result = await func(*args, **kwargs)
            return result, result

        return await aread_through(target, compute)

    return wrapper
