"""The simple cache in Redis: values, results of functions and pages of views, each with a timeout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, TypeVar

import redis

from ..store import (
    SAME_TIMEOUT,
    Budget,
    WriteSet,
    call,
    call_for_write,
    checked_reply,
    client_for,
    escape_glob,
    execute,
    execute_many,
    fresh_token,
    get_client,
    invalidator,
    is_of_another_database,
    prefix_of,
    raise_error,
    run_without_limit,
    scan,
    server_clients,
    simple_key,
    suppress_tolerated,
    unlink,
    uses_cluster,
)
from .backend_api import timeout_of_settings
from .base_cache import BaseCache

T = TypeVar("T")

KEYS_PER_BATCH = 1000


# How often a change is tried on connections that return the replies to other requests.
MAX_ATTEMPTS = 3


class _ForeignReply(Exception):
    """Redis returned the reply to another request."""


class RedisCache(BaseCache):
    """The simple cache in the Redis of the settings, or in that of the client `conn`.

    A timeout of None means ``CACHEOPS_SIMPLE_TIMEOUT``; if that is None as well, the value does not expire.
    """

    def __init__(self, conn: Any = None):
        self._own_client = conn

    @property
    def _client(self) -> Any:
        return get_client() if self._own_client is None else self._own_client

    def _client_for(self, name: str) -> Any:
        return client_for(name) if self._own_client is None else self._own_client

    def clear(self) -> None:
        self._remove_or_raise(lambda: run_without_limit(self._clear), None, WriteSet(everything=True))

    def _clear(self) -> None:
        pattern = escape_glob(simple_key(prefix_of(), "")) + "*"
        if self._own_client is None:
            for found in scan(pattern, KEYS_PER_BATCH):
                unlink(found)
        else:
            keys = iter(self._client.scan_iter(match=pattern, count=KEYS_PER_BATCH))
            while batch := list(islice(keys, KEYS_PER_BATCH)):
                self._client.unlink(*batch)

    def close(self, **kwargs: Any) -> None:
        for client in server_clients().values() if self._own_client is None else [self._own_client]:
            client.connection_pool.disconnect(inuse_connections=False)

    def _run_or_default(self, func: Callable[[], T], default: T, postponed: WriteSet | None = None) -> T:
        """Return the result of `func`, `default` while another database has the name of this project's.

        `postponed` is what `func` writes; if Redis is unreachable, that is invalidated later.  After failures that
        reads tolerate, `default` is returned.  With a client `conn`, all errors are raised.
        """
        with suppress_tolerated() if self._own_client is None else nullcontext():
            return self._remove_or_raise(func, default, postponed)
        return default

    def _remove_or_raise(self, func: Callable[[], T], default: T, postponed: WriteSet | None) -> T:
        """Do what `_run_or_default` does, but raise all errors: what is removed by hand must not seem removed."""
        if self._own_client is not None:
            return func()

        def run_after_overdue() -> T:
            invalidator.deliver_overdue()
            return default if is_of_another_database() else func()

        if postponed is None:
            return call(run_after_overdue, Budget())
        try:
            return call_for_write(run_after_overdue)
        except BaseException:
            invalidator.postpone({prefix_of(): postponed})
            raise

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        # MGET returns None for a key of another type, where GET raises an error.
        absent: list[bytes | None] = [None] * len(names)
        found = self._run_or_default(lambda: self._get_all(names), default=absent)
        return absent if invalidator.is_refused() else found

    def _get_all(self, names: Sequence[str]) -> list[bytes | None]:
        if self._own_client is not None:
            return checked_reply(self._client.mget(names), len(names))
        if not uses_cluster() or len(names) == 1:
            return checked_reply(execute("MGET", *names), len(names))
        # They have different slots.
        replies = execute_many([(("MGET", name), None) for name in names])
        return [checked_reply(raise_error(reply), 1)[0] for reply in replies]

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        px = _milliseconds(timeout)
        return self._run_or_default(
            lambda: bool(self._client_for(name).set(name, data, px=px, nx=new)),
            default=False,
            postponed=WriteSet(keys={name}),
        )

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        def attempt(pipe: Any) -> None:
            nonce = fresh_token()
            # A connection with an unread reply would answer each command with the reply to the one before.
            if pipe.echo(nonce) != nonce.encode():
                pipe.connection.disconnect()
                raise _ForeignReply
            remaining_ms = pipe.pttl(name)
            data = replace(pipe.mget([name])[0])
            pipe.multi()
            if data is not None:
                # KEEPTTL would make a key permanent that expires between PTTL and SET.
                same = None if remaining_ms == -1 else max(remaining_ms, 1)
                pipe.set(name, data, px=same if timeout is SAME_TIMEOUT else _milliseconds(timeout))

        def swap() -> None:
            for _ in range(MAX_ATTEMPTS):
                try:
                    self._client_for(name).transaction(attempt, name)
                    return
                except _ForeignReply:
                    # Other idle connections may have unread replies as well.
                    self._client_for(name).connection_pool.disconnect(inuse_connections=False)
            raise redis.ConnectionError("Redis keeps sending the replies to other requests")

        self._run_or_default(swap, default=None)

    def _remove(self, names: Sequence[str]) -> int:
        remove = unlink if self._own_client is None else lambda found: self._client.unlink(*found)
        return self._remove_or_raise(lambda: remove(names), 0, WriteSet(keys=set(names)))


def _milliseconds(timeout: float | None) -> int | None:
    if timeout is None:
        timeout = timeout_of_settings()
    return None if timeout is None else max(1, round(timeout * 1000))


cache = RedisCache()
cached = cache.cached
cached_view = cache.cached_view
