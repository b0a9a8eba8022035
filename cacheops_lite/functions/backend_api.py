"""Django's low-level cache API, with a form for coroutines of each method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from asgiref.sync import sync_to_async

from ..store import MISS, ValueStore, digest, prefix_of, simple_key

LONGEST_KEY = 200
# Seconds, a hundred years: what stores take as a time to come.
LONGEST_TIMEOUT = 100 * 365 * 24 * 60 * 60

P = ParamSpec("P")
R = TypeVar("R")


class CacheMiss(Exception):
    """Nothing is there for the key."""


def threaded(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The form of a method for coroutines."""

    @wraps(method)
    async def method_in_thread(*args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(getattr(args[0], method.__name__))(*args[1:], **kwargs)

    method_in_thread.__name__ = f"a{method.__name__}"
    return method_in_thread


class LowLevelCache(ValueStore):
    """Django's low-level cache API, and decorators, over a store of bytes.

    Keys are strings.  A timeout is a number of seconds; with 0 nothing is kept, None is the store's own default.
    Methods raise TypeError for a key of another type, and TypeError or ValueError for a timeout that makes no sense.
    What is found but can't be read, being foreign, truncated or too old, is logged and counts as not there.
    """

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
        """Add `delta` to the value and return the sum.  Atomic; the value stays as long as it would have.

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

    aget, aset, aadd, adelete = threaded(get), threaded(set), threaded(add), threaded(delete)
    aget_many, aset_many, adelete_many = threaded(get_many), threaded(set_many), threaded(delete_many)
    atouch, aincr, adecr, ahas_key = threaded(touch), threaded(incr), threaded(decr), threaded(has_key)
    aclear, aclose = threaded(clear), threaded(close)


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
    short = quote(key, safe="/:@!$&'()*+,;=", errors="surrogatepass") if len(key) <= LONGEST_KEY else f"#{digest(key)}"
    return simple_key(prefix_of(), f"k:{short}")


def _several(keys: Any) -> Iterable[Any]:
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"{keys!r} is one key; pass a collection of them")
    return keys


def _number(value: Any, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {value!r}, not a number")
    return value
