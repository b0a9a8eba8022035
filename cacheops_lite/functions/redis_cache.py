"""The simple cache: values, results of calls and pages of views in Redis, each kept for a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from ..store import (
    SAME_TIMEOUT,
    WriteSet,
    call,
    checked_reply,
    escape_glob,
    execute,
    get_client,
    invalidator,
    prefix_of,
    simple_key,
    suppress_outage,
)
from .base_cache import BaseCache

T = TypeVar("T")


class RedisCache(BaseCache):
    """The cache in Redis: that of the settings, or the client `conn`.  A timeout of None keeps until it is deleted."""

    def __init__(self, conn: Any = None):
        self._own_client = conn

    @property
    def _client(self) -> Any:
        return get_client() if self._own_client is None else self._own_client

    def clear(self) -> None:
        self._tolerate(self._clear, None, WriteSet(everything=True))

    def _clear(self) -> None:
        pattern = escape_glob(simple_key(prefix_of(), "")) + "*"
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

    def _tolerate(self, func: Callable[[], T], otherwise: T, owed: WriteSet | None = None) -> T:
        """What `func` returns; if Redis is away and reads degrade, `otherwise`, and `owed` is to be done later."""
        if self._own_client is not None:
            return func()

        def in_turn() -> T:
            invalidator.deliver_overdue()
            return func()

        with suppress_outage():
            try:
                return call(in_turn)
            except BaseException:
                if owed is not None:
                    invalidator.postpone({prefix_of(): owed})
                raise
        return otherwise

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        # MGET takes a value of a foreign type for absent, where GET would fail.
        read = partial(execute, "MGET", *names) if self._own_client is None else partial(self._client.mget, names)
        absent: list[bytes | None] = [None] * len(names)
        found = self._tolerate(lambda: checked_reply(read(), len(names)), absent)
        return absent if invalidator.is_refused() else found

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        px = _milliseconds(timeout)
        return self._tolerate(lambda: bool(self._client.set(name, data, px=px, nx=new)), False, WriteSet(keys={name}))

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        def attempt(pipe: Any) -> None:
            remaining = pipe.pttl(name)
            data = replace(pipe.mget([name])[0])
            pipe.multi()
            if data is not None:
                # KEEPTTL would keep forever what expires just now.
                same = None if remaining == -1 else max(remaining, 1)
                pipe.set(name, data, px=same if timeout is SAME_TIMEOUT else _milliseconds(timeout))

        self._tolerate(lambda: self._client.transaction(attempt, name), None)

    def _remove(self, names: Sequence[str]) -> int:
        return self._tolerate(lambda: self._client.unlink(*names), 0, WriteSet(keys=set(names)))


def _milliseconds(timeout: float | None) -> int | None:
    return None if timeout is None else max(1, round(timeout * 1000))


cache = RedisCache()
cached = cache.cached
cached_view = cache.cached_view
