"""Single commands on connections that are kept at hand: half of what a command takes is redis-py's pool and its checks.

A connection is used by one at a time: who takes it is the only one who has it, whatever thread, greenlet or signal
handler he is; it comes back once its reply was read, or counted as owed.  Whatever else happens to it, it is closed and
given back to its pool, and the command goes the usual way, which connects anew and tries as often as redis-py is told
to.  So what is sent this way has to do no harm when it is done twice.

A reply that nobody waits for is read by who next uses the connection: the server answers in turn.  Who sent the command
is told if it was an error, or if the connection was lost before it came.
"""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import redis

observability: Any
try:
    from redis.observability import get_observability_instance as observability
except ImportError:
    observability = None

# For tests that see no difference.
ENABLED = True

LOST = redis.ConnectionError("the connection was closed before the reply came")
# Connections that wait at hand; more of them go back to their pool.
MOST_KEPT = 32
# Replies that nobody waits for, on one connection.
MOST_OWED = 8

CONNECTIONS = (redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)
_EXECUTE: Any = redis.Redis.execute_command
# Older ones want a command's name for a connection; and somebody may watch commands since before we came.
_IS_USUAL = (
    inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is None
    and hasattr(redis.Connection, "is_connected")
    and _EXECUTE.__module__ == "redis.client"
    and not hasattr(_EXECUTE, "__wrapped__")
)


Told: TypeAlias = Callable[[redis.RedisError], None]


class _Kept:
    """A connection, and whom to tell of the replies that are still to come before the one to what is sent next."""

    __slots__ = ("connection", "owed")

    def __init__(self, connection: Any):
        self.connection = connection
        self.owed: deque[Told] = deque()

    def give_up(self) -> None:
        """Close the connection, and tell that the replies will not come."""
        self.connection.disconnect()
        while self.owed:
            self.owed.popleft()(LOST)


class Wire:
    """The connections at hand of one client."""

    def __init__(self, client: Any):
        self.client = client
        self._idle: list[_Kept] = []
        self._is_plain = ENABLED and _is_plain(client)

    def execute(self, *command: Any) -> Any:
        """The reply to a command that does no harm when it is done twice, and whose reply redis-py does not translate.

        Raises what the client would.
        """
        return self._do(command, self._ask)

    def send(self, on_error: Told, *command: Any, surely: bool = False) -> None:
        """Have such a command done, before all that comes after it on the same connection: nobody waits for the reply.

        When that turns out to be an error, or is lost with the connection, `on_error` is called; it must not raise.
        Where the command can't be sent like that, it is executed; so it is, `surely`, on what the server closed.
        """
        self._do(command, partial(self._tell, on_error, surely))

    def _do(self, command: Sequence[Any], way: Callable[[_Kept, Sequence[Any]], Any]) -> Any:
        client = self.client
        if not self._is_plain or _is_watched(client):
            return client.execute_command(*command)
        kept: _Kept | None = None
        try:
            kept = self._take()
            reply = way(kept, command)
        except redis.ResponseError:
            # That is a reply, too.
            if kept is not None:
                self._put_back(kept)
            raise
        except BaseException as error:
            if kept is None:
                raise
            # What comes next on it might be the reply to this command.
            kept.give_up()
            client.connection_pool.release(kept.connection)
            if not _may_be_tried_again(kept.connection, error):
                raise
        else:
            self._put_back(kept)
            return reply
        return client.execute_command(*command)

    def close(self) -> None:
        """Close the connections that wait at hand."""
        while self._idle:
            with suppress(IndexError):
                kept = self._idle.pop()
                kept.give_up()
                self.client.connection_pool.release(kept.connection)

    def _ask(self, kept: _Kept, command: Sequence[Any]) -> Any:
        kept.connection.send_command(*command)
        self._settle(kept)
        return kept.connection.read_response()

    def _tell(self, on_error: Told, surely: bool, kept: _Kept, command: Sequence[Any]) -> None:
        connection = kept.connection
        # A health check takes the next reply for its own; and what the server closed swallows a command.
        is_in_doubt = connection.health_check_interval or (surely and not kept.owed and connection.can_read())
        if len(kept.owed) >= MOST_OWED or is_in_doubt:
            self._ask(kept, command)
        else:
            connection.send_command(*command)
            kept.owed.append(on_error)

    def _settle(self, kept: _Kept) -> None:
        """Read the replies that nobody waited for."""
        while kept.owed:
            try:
                kept.connection.read_response()
            except redis.ResponseError as error:
                kept.owed.popleft()(error)
            else:
                kept.owed.popleft()

    def _take(self) -> _Kept:
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:
                break
            # After a fork it is the parent's.
            if kept.connection.pid != os.getpid():
                continue
            if kept.owed and not kept.connection.is_connected:
                # Somebody closed all of the pool's.
                kept.give_up()
            return kept
        pool = self.client.connection_pool
        connection = pool.get_connection()
        try:
            if _has_unread(connection):
                # Left by whoever had it before: the pool itself does not look over RESP3.
                connection.disconnect()
                connection.connect()
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        return _Kept(connection)

    def _put_back(self, kept: _Kept) -> None:
        pool = self.client.connection_pool
        # A server that is about to move asks for it.
        is_leaving = getattr(kept.connection, "should_reconnect", bool)()
        if is_leaving or len(self._idle) >= min(MOST_KEPT, pool.max_connections // 2):
            if kept.owed:
                kept.give_up()
            pool.release(kept.connection)
        else:
            self._idle.append(kept)


def _has_unread(connection: Any) -> bool:
    """There is a reply to a request before, or the server closed the connection."""
    try:
        return bool(connection.can_read())
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return True


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
