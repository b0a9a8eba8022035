"""Run single commands on connections that are kept open, without redis-py's pool and its checks.

The pool and the checks take half the time of a command.

One caller uses a connection at a time: `_acquire` removes it from the idle list, so no other thread, greenlet or signal
handler can get it.  It returns to the list once its reply was read or is noted as pending.  After any failure the
connection is closed and given back to redis-py's pool, and the command is run through redis-py, which reconnects and
retries as configured.  So every command sent here must be idempotent: it may run twice.

`DirectClient.send` does not wait for the reply.  The server replies in order, so the next user of the connection reads
the pending reply first, and calls the sender's error callback if it was an error or the connection was lost.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeAlias

import redis

from .connection_support import ask_through, has_unread, is_instrumented, is_retryable, is_supported
from .server_epoch import UNKNOWN_EPOCH, EpochChanged, ServerWatch

CONNECTION_LOST = redis.ConnectionError("the connection was closed before the reply came")
# Further connections go back to redis-py's pool.
MAX_IDLE_CONNECTIONS = 32
# Pending replies per connection; with more, `send` waits for its reply.
MAX_PENDING_REPLIES = 8

ErrorCallback: TypeAlias = Callable[[redis.RedisError], None]
# A command, and the epoch of the server that it is for, None for any.
Request: TypeAlias = tuple[Sequence[Any], "bytes | None"]


class _OpenConnection:
    """A connection, and the error callbacks of the replies that come before the reply to the next command."""

    __slots__ = ("connection", "pending")

    def __init__(self, connection: Any):
        self.connection = connection
        self.pending: deque[ErrorCallback] = deque()

    def disconnect(self) -> None:
        """Close the connection, and report its pending replies as lost."""
        self.connection.disconnect()
        while self.pending:
            self.pending.popleft()(CONNECTION_LOST)


class DirectClient:
    """The open connections of one client."""

    def __init__(self, client: Any, watch: ServerWatch | None = None):
        self.client = client
        self.watch = watch or ServerWatch()
        self._idle: list[_OpenConnection] = []
        self._is_supported = is_supported(client)

    def epoch(self, key: Any = None) -> bytes:
        """Return the epoch of the server that the last connection reached; make one if there is none yet.

        It has all keys.  Raises errors of Redis.
        """
        if self.watch.epoch is None:
            # Neither its reply nor a refusal matters: making the connection is what finds out the epoch.
            with suppress(redis.ResponseError):
                self.execute("TIME")
        return self.watch.epoch or UNKNOWN_EPOCH

    def execute(self, *command: Any, epoch: bytes | None = None) -> Any:
        """Return the reply to an idempotent command whose reply redis-py does not convert.

        Raises what the client would; with `epoch` also EpochChanged, if the reply is not from the server of this epoch.
        """
        return self._run(command, self._request, epoch)

    def send(self, on_error: ErrorCallback, *command: Any, check_connection: bool = False) -> None:
        """Send an idempotent command without waiting for its reply; later commands on the connection run after it.

        If the reply is an error, or is lost with the connection, `on_error` is called; it must not raise.  Where
        sending without waiting is not possible, the command is executed as by `execute`; with `check_connection` also
        if the server has closed the connection.
        """
        self._run(command, partial(self._send, on_error, check_connection))

    def _run(
        self,
        command: Sequence[Any],
        send: Callable[[_OpenConnection, Sequence[Any], bytes | None], Any],
        epoch: bytes | None = None,
        is_asking: bool = False,
    ) -> Any:
        client = self.client
        if not self._is_supported or is_instrumented(client):
            return self._run_through_client(command, epoch, is_asking)
        opened: _OpenConnection | None = None
        try:
            opened = self._acquire()
            reply = send(opened, command, epoch)
        except (redis.ResponseError, EpochChanged):
            # An error reply is a complete reply: the connection is still usable.
            if opened is not None:
                self.put_back(opened)
            raise
        except BaseException as error:
            if opened is None:
                raise
            # The next reply on this connection might belong to this command.
            self.discard(opened)
            if not is_retryable(opened.connection, error):
                raise
        else:
            self.put_back(opened)
            return reply
        return self._run_through_client(command, epoch, is_asking)

    def _run_through_client(self, command: Sequence[Any], epoch: bytes | None, is_asking: bool) -> Any:
        """Run a command by redis-py, which does not tell on which connection."""
        watch = self.watch
        watch.check_through(self.client)
        if watch.is_replica:
            self.client.connection_pool.disconnect()
            watch.forget()
            raise _replica_refused()
        reply = ask_through(self.client, command) if is_asking else self.client.execute_command(*command)
        if epoch is not None and watch.epoch != epoch:
            raise EpochChanged
        return reply

    def start(self, requests: Sequence[Request]) -> _OpenConnection | None:
        """Send commands on one connection, each with the epoch it is for; `finish` reads the replies.

        Nothing is sent, and None returned, if this is not possible: the commands are then to be run by `execute`.
        Raises EpochChanged.
        """
        if not self._is_supported or is_instrumented(self.client):
            return None
        opened: _OpenConnection | None = None
        try:
            opened = self._acquire()
            self._prepare(opened)
            for _, epoch in requests:
                if epoch is not None and opened.connection.cacheops_epoch != epoch:
                    raise EpochChanged
            packed = opened.connection.pack_commands([command for command, _ in requests])
            opened.connection.send_packed_command(packed)
        except (redis.ResponseError, EpochChanged):
            if opened is not None:
                self.put_back(opened)
            raise
        except BaseException as error:
            if opened is not None:
                self.discard(opened)
            if not isinstance(error, (redis.RedisError, OSError)):
                raise
            return None
        return opened

    def finish(self, opened: _OpenConnection, requests: Sequence[Request]) -> list[Any] | None:
        """Return the replies to the commands that `start` has sent, errors among them; None if the connection is lost.

        Call `put_back` afterwards, unless it is lost.  Raises EpochChanged.
        """
        connection, replies = opened.connection, []
        try:
            self._read_pending(opened)
            for _ in requests:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except BaseException as error:
            self.discard(opened)
            if not isinstance(error, (redis.RedisError, OSError)):
                raise
            return None
        if any(epoch is not None and epoch != connection.cacheops_epoch for _, epoch in requests):
            self.discard(opened)
            raise EpochChanged
        return replies

    def discard(self, opened: _OpenConnection) -> None:
        """Close a connection whose next reply might belong to an earlier command."""
        opened.disconnect()
        self.client.connection_pool.release(opened.connection)

    def execute_asking(self, *command: Any) -> Any:
        """Return the reply to a command with one key whose slot is moving to this node.

        Raises what the client would.
        """
        return self._run(command, self._request_asking, is_asking=True)

    def _request_asking(self, opened: _OpenConnection, command: Sequence[Any], epoch: bytes | None) -> Any:
        self._prepare(opened)
        self._read_pending(opened)
        opened.connection.send_command("ASKING")
        opened.connection.read_response()
        return self._request(opened, command, epoch)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            with suppress(IndexError):
                opened = self._idle.pop()
                opened.disconnect()
                self.client.connection_pool.release(opened.connection)

    def _prepare(self, opened: _OpenConnection) -> None:
        """Connect if necessary, and look from time to time which server it is.  Raises ReadOnlyError for a replica."""
        connection = opened.connection
        if not connection.is_connected:
            connection.connect()
        if monotonic() >= connection.cacheops_check_at:
            self._read_pending(opened)
            self.watch.check_and_probe(connection)
        if self.watch.is_replica:
            # It may be the former master: with Sentinel, a new connection finds the present one.
            connection.disconnect()
            raise _replica_refused()

    def _request(self, opened: _OpenConnection, command: Sequence[Any], epoch: bytes | None) -> Any:
        connection = opened.connection
        # Inlined `_prepare`: each hit comes this way.
        if not connection.is_connected or monotonic() >= connection.cacheops_check_at or self.watch.is_replica:
            self._prepare(opened)
        if epoch is not None and connection.cacheops_epoch != epoch:
            raise EpochChanged
        connection.send_command(*command)
        if opened.pending:
            self._read_pending(opened)
        reply = connection.read_response()
        if epoch is not None and connection.cacheops_epoch != epoch:
            # Another thread had disconnected the whole pool, and this connection was made anew.
            raise EpochChanged
        return reply

    def _send(
        self,
        on_error: ErrorCallback,
        check_connection: bool,
        opened: _OpenConnection,
        command: Sequence[Any],
        epoch: bytes | None,
    ) -> None:
        connection = opened.connection
        # A health check of redis-py would take the next reply for its own.  A command that is sent on a connection
        # which the server has closed is lost without an error.
        must_wait = connection.health_check_interval or (
            check_connection and not opened.pending and connection.can_read()
        )
        if len(opened.pending) >= MAX_PENDING_REPLIES or must_wait:
            self._request(opened, command, epoch)
        else:
            connection.send_command(*command)
            opened.pending.append(on_error)

    def _read_pending(self, opened: _OpenConnection) -> None:
        """Read the replies to commands that were sent without waiting."""
        while opened.pending:
            try:
                opened.connection.read_response()
            except redis.ResponseError as error:
                opened.pending.popleft()(error)
            else:
                opened.pending.popleft()

    def _acquire(self) -> _OpenConnection:
        while self._idle:
            try:
                opened = self._idle.pop()
            except IndexError:
                break
            # After a fork, the connection belongs to the parent process.
            if opened.connection.pid != os.getpid():
                continue
            if opened.pending and not opened.connection.is_connected:
                # The application disconnected the whole pool.
                opened.disconnect()
            if opened.connection.cacheops_epoch != self.watch.epoch:
                # A newer connection reaches another server.
                self.discard(opened)
                continue
            return opened
        pool = self.client.connection_pool
        connection = pool.get_connection()
        try:
            if has_unread(connection):
                # An earlier user left a reply unread.  With RESP3, the pool itself does not check for that.
                connection.disconnect()
                connection.connect()
            self.watch.check_if_unnoted(connection)
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        return _OpenConnection(connection)

    def put_back(self, opened: _OpenConnection) -> None:
        """Keep a connection all of whose replies were read or are noted as pending."""
        pool = self.client.connection_pool
        # A server that is about to move asks its clients to reconnect.
        is_leaving = getattr(opened.connection, "should_reconnect", bool)()
        if is_leaving or len(self._idle) >= min(MAX_IDLE_CONNECTIONS, pool.max_connections // 2):
            if opened.pending:
                opened.disconnect()
            pool.release(opened.connection)
        elif self._idle and self._idle[-1].pending and not opened.pending:
            # The replies that are pending there are read by the next command, even if one thread goes on alone: one of
            # them may say that a fence was not released.
            self._idle.insert(0, opened)
        else:
            self._idle.append(opened)


def _replica_refused() -> redis.exceptions.ReadOnlyError:
    """Return the error for a replica: it takes no invalidations, so what it holds may be stale."""
    return redis.exceptions.ReadOnlyError("READONLY The server is a replica.")
