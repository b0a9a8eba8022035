"""Single commands on connections that are kept at hand: half of what a command takes is redis-py's pool and its checks.

A connection is used by one at a time: who takes it is the only one who has it, whatever thread, greenlet or signal
handler he is; it comes back only after its reply was read.  Whatever else happens to it, it is closed and given back
to its pool, and the command goes the usual way, which connects anew and tries as often as redis-py is told to.  So what
is sent this way has to do no harm when it is done twice.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import redis

observability: Any
try:
    from redis.observability import get_observability_instance as observability
except ImportError:
    observability = None

# For tests that see no difference.
ENABLED = True

# Connections that wait at hand; more of them go back to their pool.
MOST_KEPT = 32

CONNECTIONS = (redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)
_EXECUTE: Any = redis.Redis.execute_command
# Older ones want a command's name for a connection; and somebody may watch commands since before we came.
_IS_USUAL = (
    inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is None
    and _EXECUTE.__module__ == "redis.client"
    and not hasattr(_EXECUTE, "__wrapped__")
)


class Wire:
    """The connections at hand of one client."""

    def __init__(self, client: Any):
        self.client = client
        self._idle: list[Any] = []
        self._is_plain = ENABLED and _is_plain(client)

    def execute(self, *command: Any) -> Any:
        """The reply to a command that does no harm when it is done twice, and whose reply redis-py does not translate.

        Raises what the client would.
        """
        client = self.client
        if not self._is_plain or _is_watched(client):
            return client.execute_command(*command)
        connection = self._take()
        try:
            connection.send_command(*command)
            reply = connection.read_response()
        except redis.ResponseError:
            # That is a reply, too.
            self._put_back(connection)
            raise
        except BaseException as error:
            # What comes next on it might be the reply to this command.
            connection.disconnect()
            client.connection_pool.release(connection)
            if not _may_be_tried_again(connection, error):
                raise
        else:
            self._put_back(connection)
            return reply
        return client.execute_command(*command)

    def _take(self) -> Any:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            # After a fork it is the parent's.
            if connection.pid == os.getpid():
                return connection
        return self.client.connection_pool.get_connection()

    def _put_back(self, connection: Any) -> None:
        pool = self.client.connection_pool
        # A server that is about to move asks for it.
        is_leaving = getattr(connection, "should_reconnect", bool)()
        if is_leaving or len(self._idle) >= min(MOST_KEPT, pool.max_connections // 2):
            pool.release(connection)
        else:
            self._idle.append(connection)


def _is_plain(client: Any) -> bool:
    """Its commands do nothing that is not done here: no cluster, sentinel, cache of redis-py's own or fake."""
    pool = getattr(client, "connection_pool", None)
    return (
        _IS_USUAL
        and type(client) is redis.Redis
        and type(pool) is redis.ConnectionPool
        and pool.connection_class in CONNECTIONS
        and getattr(pool, "cache", None) is None
        and client.connection is None
    )


def _is_watched(client: Any) -> bool:
    """Somebody watches the method that executes commands, and should see ours as well."""
    return (
        "execute_command" in client.__dict__
        or redis.Redis.execute_command is not _EXECUTE
        or (observability is not None and observability().is_enabled())
    )


def _may_be_tried_again(connection: Any, error: BaseException) -> bool:
    """The connection may be an old one that the server closed; a server that does not answer is asked no more often
    than redis-py would."""
    if isinstance(error, redis.TimeoutError):
        retries = getattr(connection.retry, "get_retries", int)()
        return bool(retries)
    return isinstance(error, redis.ConnectionError)
