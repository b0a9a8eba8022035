"""Which clients and connections of redis-py `redis_connection` can use without its pool and its checks."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import redis
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from .limited_connection import unlimited_class

observability: Any
try:
    from redis.observability import get_observability_instance as observability
except ImportError:
    observability = None

CONNECTIONS = (
    *(redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection),
    *(SentinelManagedConnection, SentinelManagedSSLConnection),
)
_EXECUTE: Any = redis.Redis.execute_command
# Older versions of redis-py need the command's name to get a connection.  The method may also have been wrapped by an
# instrumentation that was installed before this import.
_IS_SUPPORTED_REDIS_PY = (
    inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is None
    and hasattr(redis.Connection, "is_connected")
    and _EXECUTE.__module__ == "redis.client"
    and not hasattr(_EXECUTE, "__wrapped__")
)


def make_command_name_optional(client: Any) -> None:
    """Let the pool of a client lend connections without the name of a command, as redis-py does since version 5.3.

    Older versions and valkey-py want a name, and do not use it.
    """
    pool: Any = getattr(client, "connection_pool", None)
    get_connection: Any = getattr(pool, "get_connection", None)
    if get_connection is None:
        return
    name = inspect.signature(get_connection).parameters.get("command_name")
    if name is not None and name.default is inspect.Parameter.empty:

        def get(command_name: str = "", *args: Any, **kwargs: Any) -> Any:
            return get_connection(command_name, *args, **kwargs)

        pool.get_connection = get


def ask_through(client: Any, command: Sequence[Any]) -> Any:
    """Return the reply of a node of a cluster to a command with a key whose slot is moving there; raise its error."""
    # A pipeline sends both on the same connection.  It would add words to an error that it raises itself.
    pipeline = client.pipeline(transaction=False)
    reply = pipeline.execute_command("ASKING").execute_command(*command).execute(raise_on_error=False)[-1]
    if isinstance(reply, Exception):
        raise reply
    return reply


def has_unread(connection: Any) -> bool:
    """Return whether a reply to an earlier request is unread, or the server has closed the connection."""
    try:
        return bool(connection.can_read())
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return True


def is_supported(client: Any) -> bool:
    """Return whether the client is a plain one: no cluster, no client-side cache of redis-py, no fake."""
    pool = getattr(client, "connection_pool", None)
    return (
        _IS_SUPPORTED_REDIS_PY
        and type(client) is redis.Redis
        and pool is not None
        and type(pool) in (redis.ConnectionPool, SentinelConnectionPool)
        and unlimited_class(pool.connection_class) in CONNECTIONS
        and getattr(pool, "cache", None) is None
        and client.connection is None
    )


def is_embedded(client: Any) -> bool:
    """Return whether this is fakeredis, which no other process reaches and which tracks no keys."""
    connection_class = getattr(getattr(client, "connection_pool", None), "connection_class", None)
    return getattr(connection_class, "__module__", "").startswith("fakeredis")


def is_instrumented(client: Any) -> bool:
    """Return whether a tracing tool or a test replaced the method that runs commands, and has to see these as well."""
    return (
        "execute_command" in client.__dict__
        or redis.Redis.execute_command is not _EXECUTE
        or (observability is not None and observability().is_enabled())
    )


def is_retryable(connection: Any, error: BaseException) -> bool:
    """Return whether redis-py should retry the command.

    After a connection error it should: the server may have closed an idle connection.  After a timeout only if the
    client is configured to retry at all.
    """
    if isinstance(error, redis.TimeoutError):
        retries = getattr(connection.retry, "get_retries", int)()
        return bool(retries)
    return isinstance(error, redis.ConnectionError)
