"""Django's low-level cache API, with an async variant of each method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from asgiref.sync import sync_to_async

from ..conf import settings
from ..store import MISS, ValueStore, digest, prefix_of, simple_key

# A longer key is replaced by its digest.
MAX_KEY_CHARACTERS = 200
# A hundred years: Redis and file systems accept it as an expiry from now.
MAX_TIMEOUT_SECONDS = 100 * 365 * 24 * 60 * 60

P = ParamSpec("P")
R = TypeVar("R")


class CacheMiss(Exception):
    """There is no value of the key."""


def async_variant(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return a coroutine method that runs the method of the same name, overrides included, by ``sync_to_async``."""

    @wraps(method)
    async def call_in_thread(*args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(getattr(args[0], method.__name__))(*args[1:], **kwargs)

    call_in_thread.__name__ = f"a{method.__name__}"
    return call_in_thread


class LowLevelCache(ValueStore):
    """Django's low-level cache API over a store of bytes.

    Keys are strings.  A timeout is a number of seconds; 0 stores nothing, None is that of the settings.  Methods
    raise TypeError for a key of another type, and TypeError or ValueError for an invalid timeout.  A stored value that
    can't be read (foreign, truncated, or of an old format) is logged and counts as absent.
    """

    def get(self, key: str, default: Any = MISS) -> Any:
        """Return the value of `key`, else `default`.  Raises CacheMiss when there is neither."""
        value = self.load(_store_key(key))
        if value is MISS and default is MISS:
            raise CacheMiss(key)
        return default if value is MISS else value

    def set(self, key: str, data: Any, timeout: float | None = None) -> None:
        """Store `data` for `timeout` seconds.  Raises what the serializer raises when it can't serialize `data`."""
        self.keep(_store_key(key), data, checked_timeout(timeout, f"set({key!r})"))

    def add(self, key: str, data: Any, timeout: float | None = None) -> bool:
        """Store `data` if there is no value yet.  Returns False if there is one."""
        return self.keep(_store_key(key), data, checked_timeout(timeout, f"add({key!r})"), new=True)

    def delete(self, key: str) -> bool:
        """Delete the value.  Returns False if there was none."""
        return self.drop(_store_key(key))

    def get_or_set(self, key: str, default: Any, timeout: float | None = None) -> Any:
        """Return the value of `key`; if there is none, store `default`, or its result if it is callable."""
        value = self.load(_store_key(key))
        if value is not MISS:
            return value
        value = default() if callable(default) else default
        return value if self.add(key, value, timeout) else self.get(key, value)

    async def aget_or_set(self, key: str, default: Any, timeout: float | None = None) -> Any:
        """Do what `get_or_set` does; `default` may be a coroutine function as well."""
        value = await sync_to_async(self.load)(_store_key(key))
        if value is not MISS:
            return value
        value = default() if callable(default) else default
        value = await value if inspect.isawaitable(value) else value
        return value if await self.aadd(key, value, timeout) else await self.aget(key, value)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that have one."""
        names = {key: _store_key(key) for key in _checked_collection(keys)}
        found = self._read(list(names.values())) if names else []
        values = {key: self._decode(names[key], data) for key, data in zip(names, found, strict=True)}
        return {key: value for key, value in values.items() if value is not MISS}

    def set_many(self, data: Mapping[str, Any], timeout: float | None = None) -> list[str]:
        """Store each item of `data` as `set` does, after checking all of them.

        Returns an empty list, in place of Django's list of keys that failed.
        """
        timeout = checked_timeout(timeout, "set_many()")
        items = [(_store_key(key), value) for key, value in data.items()]
        for name, encoded in [(name, self.encode(name, value)) for name, value in items]:
            self._store(name, encoded, timeout)
        return []

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete the values of `keys`."""
        if names := [_store_key(key) for key in _checked_collection(keys)]:
            self._remove(names)

    def touch(self, key: str, timeout: float | None = None) -> bool:
        """Let the value expire in `timeout` seconds from now.  Returns False if there is none."""
        name, timeout = _store_key(key), checked_timeout(timeout, f"touch({key!r})")
        if timeout == 0:
            return self.drop(name)
        return self.change(name, lambda value: value, timeout) is not MISS

    def incr(self, key: str, delta: float = 1) -> Any:
        """Add `delta` to the value and return the sum.  Atomic; the value's expiry stays.

        Raises ValueError when there is no value, TypeError when the value or `delta` is not a number.
        """

        def add(value: Any) -> Any:
            return _checked_number(value, f"The value of {key!r}") + _checked_number(delta, f"The delta of {key!r}")

        total = self.change(_store_key(key), add)
        if total is MISS:
            raise ValueError(f"There is no value of {key!r} to add to. Store one first, for example by add().")
        return total

    def decr(self, key: str, delta: float = 1) -> Any:
        """Subtract `delta` from the value and return the difference, as `incr` does."""
        return self.incr(key, -_checked_number(delta, f"The delta of {key!r}"))

    def has_key(self, key: str) -> bool:
        """Return whether there is a value of `key`."""
        return self.load(_store_key(key)) is not MISS

    __contains__ = has_key

    def clear(self) -> None:
        """Delete everything that this cache stores, and nothing else."""
        raise NotImplementedError

    def close(self, **kwargs: Any) -> None:
        """Close connections that are not in use."""

    aget, aset, aadd, adelete = async_variant(get), async_variant(set), async_variant(add), async_variant(delete)
    aget_many, aset_many = async_variant(get_many), async_variant(set_many)
    adelete_many, atouch = async_variant(delete_many), async_variant(touch)
    aincr, adecr, ahas_key = async_variant(incr), async_variant(decr), async_variant(has_key)
    aclear, aclose = async_variant(clear), async_variant(close)


def timeout_of_settings() -> float | None:
    """Return ``CACHEOPS_SIMPLE_TIMEOUT``, None if there is no default."""
    timeout: float | None = settings.CACHEOPS_SIMPLE_TIMEOUT
    return None if timeout is None else min(timeout, MAX_TIMEOUT_SECONDS)


def checked_timeout(timeout: Any, where: str) -> float | None:
    """Return `timeout` in seconds, None for none.

    Raises TypeError or ValueError, naming `where`, for an invalid one.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{where} has timeout {timeout!r}; it should be a number of seconds or None")
    if not timeout >= 0:
        raise ValueError(f"{where} has timeout {timeout!r}; it should be 0 or more seconds")
    return min(timeout, MAX_TIMEOUT_SECONDS)


def _store_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not a key of the cache; keys are strings")
    if len(key) <= MAX_KEY_CHARACTERS:
        short = quote(key, safe="/:@!$&'()*+,;=", errors="surrogatepass")
    else:
        short = f"#{digest(key)}"
    return simple_key(prefix_of(), f"k:{short}")


def _checked_collection(keys: Any) -> Iterable[Any]:
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"{keys!r} is one key; pass a collection of keys, such as [{keys!r}]")
    return keys


def _checked_number(value: Any, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {value!r}, which is not a number: only numbers can be added or subtracted")
    return value
