"""Raise the errors of a fork of redis-py, such as valkey-py, as errors of redis-py as well.

The fork has error classes of its own, which no ``except redis.RedisError`` catches.  They come from its connections and
its pool, so these are wrapped: what they raise has a class that is derived from both the fork's class and that of
redis-py with the same name.  The fork recognizes its errors, this package those of redis-py, and the application both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import redis

from .client_library import ClientLibrary

# The methods of a connection that talk to the server.
_METHODS = ("connect", "send_packed_command", "read_response", "can_read")


def translate_errors(client: Any, library: ClientLibrary) -> None:
    """Wrap the connections, and the pool, of a client of a fork that has made no connection yet."""
    pool: Any = getattr(client, "connection_pool", None)
    if library.is_redis_py or not isinstance(getattr(pool, "connection_class", None), type):
        return
    pool.connection_class = _translating_class(pool.connection_class, library.name)
    pool.get_connection = _translating(pool.get_connection, library.name)


@cache
def _translating_class(connection_class: Any, package: str) -> type:
    methods: dict[str, Any] = {
        name: _translating(getattr(connection_class, name), package)
        for name in _METHODS
        if hasattr(connection_class, name)
    }
    return type(connection_class.__name__, (connection_class,), methods)


def _translating(func: Callable[..., Any], package: str) -> Callable[..., Any]:
    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            reply = func(*args, **kwargs)
        except Exception as error:
            translated = _translated(error, package)
            if translated is error:
                raise
            raise translated.with_traceback(error.__traceback__) from error.__cause__
        if type(reply) is list:
            # The errors of single commands of a transaction are items of its reply.
            return [_translated(each, package) if isinstance(each, Exception) else each for each in reply]
        return reply

    return call


def _translated(error: Exception, package: str) -> Exception:
    """Return `error` if it is not one of the fork or is translated already, else an error of both libraries."""
    if isinstance(error, redis.RedisError):
        return error
    error_class: Any = type(error)
    joined = _joined_class(error_class, package)
    return error if joined is None else joined(*error.args)


@cache
def _joined_class(error_class: Any, package: str) -> type[Exception] | None:
    """Return a class derived from a class of the fork and the class of redis-py that has the same name.

    Without such a class, that of the nearest base class counts.  None if it is not a class of the fork.
    """
    own = [each for each in error_class.__mro__ if each.__module__.partition(".")[0] == package]
    if not own:
        return None
    same: list[Any] = [getattr(redis.exceptions, each.__name__, None) for each in own]
    counterpart: type[Exception] = next((each for each in same if _is_error_class(each)), redis.RedisError)

    def reduce(self: Exception) -> tuple[Any, ...]:
        # A process that unpickles it need not know the joined class.
        return error_class, self.args

    return type(error_class.__name__, (error_class, counterpart), {"__reduce__": reduce})


def _is_error_class(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, redis.RedisError)
