"""The simple cache: values by key, results of calls and pages of views, each kept for a time.

Names begin with what they are of: ``k:`` a user's key, ``f:`` a call, ``u:`` a URL's record, ``p:`` a page.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from asgiref.sync import iscoroutinefunction, sync_to_async

from .conf import settings
from .invalidation import PREFIX
from .keys import FORMAT_VERSION, NAMESPACE, digest
from .redis import get_client
from .serializers import function_serializer
from .store import MISS
from .views import Callee, Function, Place, view_decorator

__all__ = ["BaseCache", "CacheKey", "CacheMiss", "RedisCache", "cache", "cached", "cached_view"]

logger = logging.getLogger("cacheops_lite")

MAGIC = b"col%d" % FORMAT_VERSION
DIGEST_LENGTH = 12
HEADER_LENGTH = len(MAGIC) + DIGEST_LENGTH
LONGEST_KEY = 200
# Seconds, a hundred years: what stores take as a time to come.
LONGEST_TIMEOUT = 100 * 365 * 24 * 60 * 60

SAME = object()  # As a timeout: what it was before.

P = ParamSpec("P")
R = TypeVar("R")


class CacheMiss(Exception):
    """Nothing is there for the key."""


def _threaded(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The form of a method for coroutines."""

    @wraps(method)
    async def threaded(*args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(getattr(args[0], method.__name__))(*args[1:], **kwargs)

    threaded.__name__ = f"a{method.__name__}"
    return threaded


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

    aget, aset, adelete = _threaded(get), _threaded(set), _threaded(delete)


class BaseCache:
    """Django's low-level cache API, and decorators, over a store of bytes.

    Keys are strings.  A timeout is a number of seconds; with 0 nothing is kept, None is the store's own default.
    Each method raises TypeError for a key of another type, and TypeError or ValueError for a timeout that makes no sense.
    What is found but can't be read, being foreign, truncated or too old, is logged and counts as not there.
    """

    # What a store is: bytes by name.

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        raise NotImplementedError

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        raise NotImplementedError

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        raise NotImplementedError

    def _remove(self, names: Sequence[str]) -> int:
        raise NotImplementedError

    def _secret(self) -> bytes:
        return b""

    # Values by name.

    def load(self, name: str) -> Any:
        return self._decode(name, self._read([name])[0])

    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool:
        return self._store(name, self.encode(name, value), timeout, new)

    def drop(self, name: str) -> bool:
        return bool(self._remove([name]))

    def change(self, name: str, func: Function, timeout: Any = SAME) -> Any:
        """Put what `func` makes of a value in its place, at once; MISS if there is none or it makes MISS of it."""
        made: Any = MISS

        def replace(data: bytes | None) -> bytes | None:
            nonlocal made
            value = self._decode(name, data)
            made = MISS if value is MISS else func(value)
            return None if made is MISS else self.encode(name, made)

        self._swap(name, replace, timeout)
        return made

    def encode(self, name: str, value: Any) -> bytes:
        data = bytes(function_serializer().dumps(value))
        return self._header(name, data) + data

    def _decode(self, name: str, data: bytes | None) -> Any:
        if data is None:
            return MISS
        payload = data[HEADER_LENGTH:]
        if data[:HEADER_LENGTH] != self._header(name, payload):
            logger.warning("Ignored what is cached as %s: it is foreign or truncated", name)
            return MISS
        try:
            return function_serializer().loads(payload)
        except Exception as error:
            logger.warning("Can't decode what is cached as %s: %r", name, error)
            return MISS

    def _header(self, name: str, payload: bytes) -> bytes:
        md = hashlib.blake2b(name.encode() + b"\n", digest_size=DIGEST_LENGTH, key=self._secret())
        md.update(payload)
        return MAGIC + md.digest()

    def _store(self, name: str, data: bytes, timeout: float | None, new: bool = False) -> bool:
        if timeout == 0:
            if not new:
                self._remove([name])
            return False
        if self._write(name, data, timeout, new):
            return True
        # What can't be read must not keep others from its place.
        return new and self.load(name) is MISS and self._write(name, data, timeout, False)

    # The API.

    def get(self, key: str, default: Any = MISS) -> Any:
        """The value of `key`, else `default`.  Raises CacheMiss when there is neither."""
        value = self.load(_name(key))
        if value is MISS and default is MISS:
            raise CacheMiss(key)
        return default if value is MISS else value

    def set(self, key: str, data: Any, timeout: float | None = None) -> None:
        """Keep `data` for `timeout` seconds.  Raises what the serializer does when it can't take `data`."""
        self.keep(_name(key), data, checked_timeout(timeout, f"set({key!r})"))

    def add(self, key: str, data: Any, timeout: float | None = None) -> bool:
        """Keep `data` if there is no value yet; False if there is."""
        return self.keep(_name(key), data, checked_timeout(timeout, f"add({key!r})"), new=True)

    def delete(self, key: str) -> bool:
        """Forget the value; False if there was none."""
        return self.drop(_name(key))

    def get_or_set(self, key: str, default: Any, timeout: float | None = None) -> Any:
        """The value of `key`, else `default`, or what it returns if it can be called, from then on."""
        value = self.load(_name(key))
        if value is not MISS:
            return value
        value = default() if callable(default) else default
        return value if self.add(key, value, timeout) else self.get(key, value)

    async def aget_or_set(self, key: str, default: Any, timeout: float | None = None) -> Any:
        """`get_or_set` for coroutines; what `default` returns may be awaitable."""
        value = await sync_to_async(self.load)(_name(key))
        if value is not MISS:
            return value
        value = default() if callable(default) else default
        value = await value if inspect.isawaitable(value) else value
        return value if await self.aadd(key, value, timeout) else await self.aget(key, value)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Values of those of `keys` that have one."""
        names = {key: _name(key) for key in _several(keys)}
        found = self._read(list(names.values())) if names else []
        values = {key: self._decode(names[key], data) for key, data in zip(names, found, strict=True)}
        return {key: value for key, value in values.items() if value is not MISS}

    def set_many(self, data: Mapping[str, Any], timeout: float | None = None) -> list[str]:
        """`set` for each item of `data`; all are checked before the first is kept.  The keys that failed: none."""
        timeout = checked_timeout(timeout, "set_many()")
        items = [(_name(key), value) for key, value in data.items()]
        for name, encoded in [(name, self.encode(name, value)) for name, value in items]:
            self._store(name, encoded, timeout)
        return []

    def delete_many(self, keys: Iterable[str]) -> None:
        """Forget the values of `keys`."""
        if names := [_name(key) for key in _several(keys)]:
            self._remove(names)

    def touch(self, key: str, timeout: float | None = None) -> bool:
        """Keep the value for `timeout` seconds from now; False if there is none."""
        name, timeout = _name(key), checked_timeout(timeout, f"touch({key!r})")
        if timeout == 0:
            return self.drop(name)
        return self.change(name, lambda value: value, timeout) is not MISS

    def incr(self, key: str, delta: float = 1) -> Any:
        """Add `delta` to the value, which stays as long as it would have, at once.  Returns the sum.

        Raises ValueError when there is none, TypeError when one of them is not a number.
        """

        def add(value: Any) -> Any:
            return _number(value, f"The value of {key!r}") + _number(delta, f"The delta of {key!r}")

        total = self.change(_name(key), add)
        if total is MISS:
            raise ValueError(f"There is no value of {key!r} to count from")
        return total

    def decr(self, key: str, delta: float = 1) -> Any:
        """Subtract `delta` from the value; otherwise like `incr`."""
        return self.incr(key, -_number(delta, f"The delta of {key!r}"))

    def has_key(self, key: str) -> bool:
        """There is a value of `key`."""
        return self.load(_name(key)) is not MISS

    __contains__ = has_key

    def clear(self) -> None:
        """Forget everything that this cache keeps, and nothing else."""
        raise NotImplementedError

    def close(self, **kwargs: Any) -> None:
        """Let go of connections that nobody uses now."""

    aget, aset, aadd, adelete = _threaded(get), _threaded(set), _threaded(add), _threaded(delete)
    aget_many, aset_many, adelete_many = _threaded(get_many), _threaded(set_many), _threaded(delete_many)
    atouch, aincr, adecr, ahas_key = _threaded(touch), _threaded(incr), _threaded(decr), _threaded(has_key)
    aclear, aclose = _threaded(clear), _threaded(close)

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
        """Cache GETs and HEADs of a view, sync or async, for `timeout` seconds: ``@cached_view`` or ``@cached_view(60)``.

        What a page depends on besides the URL, the view's arguments and what it says to vary by is `extra`, a value or a
        callable that gets the arguments.  What Django's cache middleware would not keep is not kept.
        The view gets ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which forget all pages of a URL,
        and ``key(request or absolute URI, ...)``, the `CacheKey` of one.  Raises what `cached` does.
        """
        if callable(timeout):
            return self.cached_view()(timeout)
        calls = _Calls(self, checked_timeout(timeout, "cached_view()"))
        return view_decorator(calls, extra, CacheKey.make)


def checked_timeout(timeout: Any, where: str) -> float | None:
    """`timeout` in seconds, None for none.  Raises TypeError or ValueError, naming `where`, if it is something else."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{where} has timeout {timeout!r}; it should be a number of seconds or None")
    if not timeout >= 0:
        raise ValueError(f"{where} has timeout {timeout!r}; it should be 0 or more seconds")
    return min(timeout, LONGEST_TIMEOUT)


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not a key of the cache; keys are strings")
    if len(key) > LONGEST_KEY:
        return f"k:#{digest(key)}"
    return "k:" + quote(key, safe="/:@!$&'()*+,;=", errors="surrogatepass")


def _several(keys: Any) -> Iterable[Any]:
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"{keys!r} is one key; pass a collection of them")
    return keys


def _number(value: Any, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {value!r}, not a number")
    return value


class _Calls:
    """Calls whose results `memory` keeps for `timeout` seconds."""

    def __init__(self, memory: BaseCache, timeout: float | None):
        self.memory, self.timeout = memory, timeout

    def read(self, func: Function, name: str, compute: Callable[[], Any], place: Place) -> Any:
        value = self.memory.load(name)
        if value is MISS:
            value = compute()
            self._keep(func, place, value)
        return value

    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], place: Place) -> Any:
        value = await sync_to_async(self.memory.load)(name)
        if value is MISS:
            value = await compute()
            await sync_to_async(self._keep)(func, place, value)
        return value

    def _keep(self, func: Function, place: Place, value: Any) -> None:
        placed = place(value)
        if placed is None:
            return
        try:
            data = self.memory.encode(*placed)
        except Exception:
            logger.exception("Can't cache a result of %s: it does not serialize", getattr(func, "__qualname__", func))
            return
        self.memory._store(placed[0], data, self.timeout)


def _cached(calls: _Calls, func: Function, extra: Any) -> Any:
    callee = Callee(func)

    def key(*args: Any, **kwargs: Any) -> CacheKey:
        said = extra(*args, **kwargs) if callable(extra) else extra
        return CacheKey.make("f:" + digest(callee.name(args, kwargs, said)), calls.memory, calls.timeout)

    def invalidate(*args: Any, **kwargs: Any) -> None:
        key(*args, **kwargs).delete()

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return func(*args, **kwargs)
        name = key(*args, **kwargs)
        return calls.read(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    @wraps(func)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return await func(*args, **kwargs)
        name = key(*args, **kwargs)
        return await calls.aread(func, name, lambda: func(*args, **kwargs), lambda result: (name, result))

    wrapper: Any = acall if iscoroutinefunction(func) else call
    wrapper.key, wrapper.invalidate, wrapper.ainvalidate = key, invalidate, sync_to_async(invalidate)
    return wrapper


class RedisCache(BaseCache):
    """The cache in Redis: that of the settings, or `client`.  A timeout of None keeps a value until it is deleted."""

    def __init__(self, client: Any = None):
        self._own_client = client

    @property
    def _client(self) -> Any:
        return self._own_client or get_client()

    def clear(self) -> None:
        pattern = re.sub(r"([*?\[\]^\\-])", r"\\\1", _redis_key("")) + "*"
        batch: list[bytes] = []
        for key in self._client.scan_iter(match=pattern, count=1000):
            batch.append(key)
            if len(batch) == 1000:
                self._client.unlink(*batch)
                batch.clear()
        if batch:
            self._client.unlink(*batch)

    def close(self, **kwargs: Any) -> None:
        self._client.connection_pool.disconnect(inuse_connections=False)

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        # MGET takes a value of a foreign type for absent, where GET would fail.
        return self._client.mget([_redis_key(name) for name in names])

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        return bool(self._client.set(_redis_key(name), data, px=_milliseconds(timeout), nx=new))

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        key = _redis_key(name)

        def attempt(pipe: Any) -> None:
            remaining = pipe.pttl(key)
            data = replace(pipe.mget([key])[0])
            pipe.multi()
            if data is not None:
                # KEEPTTL would keep forever what expires just now.
                same = None if remaining == -1 else max(remaining, 1)
                pipe.set(key, data, px=same if timeout is SAME else _milliseconds(timeout))

        self._client.transaction(attempt, key)

    def _remove(self, names: Sequence[str]) -> int:
        return self._client.unlink(*(_redis_key(name) for name in names))


def _redis_key(name: str) -> str:
    return f"{PREFIX}{NAMESPACE}c:{name}"


def _milliseconds(timeout: float | None) -> int | None:
    return None if timeout is None else max(1, round(timeout * 1000))


cache = RedisCache()
cached = cache.cached
cached_view = cache.cached_view
