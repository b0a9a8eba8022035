"""``cached_as``: results of functions that are invalidated like querysets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from . import compiled
from .caching import Caching, require_caching
from .calls import Callee
from .conf import parse_timeout, settings
from .dependencies import Uncacheable
from .invalidation import PREFIX
from .keys import digest, value_key
from .reading import Target, aread_through, read_through
from .serializers import function_serializer
from .store import Basis
from .transaction import is_dirty

Function = Callable[..., Any]


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
    if not samples:
        raise TypeError("Pass a queryset, a model or an object to cache like")
    # What a paginator has for an empty page.
    if len(samples) == 1 and isinstance(samples[0], list):
        return lambda func: func
    querysets = [_queryset(sample) for sample in samples]
    profiles = [require_caching(queryset) for queryset in querysets]
    if timeout is not None:
        parse_timeout(timeout, "cached_as()")
    options = Caching(
        ops=frozenset(),
        timeout=min(profile.timeout for profile in profiles) if timeout is None else timeout,
        lock=any(profile.lock for profile in profiles) if lock is None else lock,
        db_agnostic=all(profile.db_agnostic for profile in profiles),
    )
    like = _Like(querysets, options)

    def decorate(func: Function) -> Function:
        if inspect.iscoroutinefunction(func):
            return _decorated_coroutine(func, like, extra)
        return _decorated(func, like, extra)

    return decorate


class _Like:
    """The samples, as what results rest on; found out when first needed, as they may be given at import."""

    def __init__(self, querysets: Sequence[QuerySet[Any]], options: Caching):
        self.querysets = querysets
        self.options = options
        self._found = lru_cache(maxsize=1)(self._find)
        self._callee = lru_cache(maxsize=1)(Callee)

    @property
    def databases(self) -> tuple[str, ...]:
        return tuple(sorted({queryset.db for queryset in self.querysets}))

    def target(self, func: Function, extra: Any, args: Any, kwargs: Any) -> Target | None:
        """Where the result of this call is kept, None if it can't be cached."""
        databases = self.databases
        if not settings.CACHEOPS_ENABLED or is_dirty(databases):
            return None
        names, basis = self._found(databases)
        if basis is None:
            return None
        extra_value = extra(*args, **kwargs) if callable(extra) else extra
        name = digest("as", *names, self._callee(func).name(args, kwargs, extra_value))
        serializer = function_serializer()
        return Target(
            key=value_key(PREFIX, name),
            basis=basis,
            databases=databases,
            timeout=self.options.timeout,
            lock=self.options.lock,
            func=func,
            dumps=serializer.dumps,
            loads=serializer.loads,
        )

    def _find(self, databases: tuple[str, ...]) -> tuple[list[str], Basis | None]:
        names: list[str] = [] if self.options.db_agnostic else list(databases)
        dependencies = set()
        for queryset in self.querysets:
            try:
                read = compiled.compile_rows(queryset.all())
            except EmptyResultSet:
                continue
            except Uncacheable:
                return [], None
            names.append(read.name)
            dependencies |= read.dependencies
        return names, Basis(PREFIX, dependencies)


def _decorated(func: Function, like: _Like, extra: Any) -> Function:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        target = like.target(func, extra, args, kwargs)
        if target is None:
            return func(*args, **kwargs)

        def compute() -> tuple[Any, Any]:
            result = func(*args, **kwargs)
            return result, result

        return read_through(target, compute, lambda result: result)

    return wrapper


def _decorated_coroutine(func: Function, like: _Like, extra: Any) -> Function:
    from asgiref.sync import sync_to_async

    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        # Transactions belong to the thread that the ORM runs in.
        target = await sync_to_async(like.target)(func, extra, args, kwargs)
        if target is None:
            return await func(*args, **kwargs)
        return await aread_through(target, lambda: func(*args, **kwargs))

    return wrapper


def _queryset(sample: Any) -> QuerySet[Any]:
    if isinstance(sample, Model):
        if sample.pk is None:
            raise TypeError(f"Can't cache like {sample!r}: it is not saved")
        return type(sample)._base_manager.filter(pk=sample.pk)
    if isinstance(sample, type) and issubclass(sample, Model):
        return sample._default_manager.all()
    if isinstance(sample, BaseManager):
        return sample.all()
    if isinstance(sample, QuerySet):
        return sample
    raise TypeError(f"Pass a queryset, a model or an object to cache like, not {sample!r}")
