"""Connections of redis-py, or of a fork of it, that observe the deadline of the running call (see `time_limit`).

The timeouts of redis-py limit a single wait for the next bytes, and its retries begin anew each time: neither limits a
call as a whole.  Here each lookup of a host name, each connection attempt, each wait for the server and each retry ends
at the deadline.
"""

from __future__ import annotations

import sys
from functools import cache
from time import monotonic
from typing import Any

import redis
from redis.backoff import AbstractBackoff
from redis.sentinel import Sentinel

from . import time_limit
from .client_library import ClientLibrary, library_of
from .host_lookup import addresses_of, is_address
from .shared_work import TooLate
from .time_limit import running

# Sockets wait for this share of the limit by themselves, so that their timeout need not be set for each wait: the first
# wait of an operation ends in time if not much time passed before it.
SHARE_OF_LIMIT = 0.95
# A timeout of 0 would make a socket non-blocking.
MIN_SECONDS = 0.001


class LimitedSocket:
    """A socket whose waits end at the deadline of the running call."""

    __slots__ = ("_applied", "_own", "_receive_into", "_send_all", "_socket")

    def __init__(self, socket: Any):
        self._socket = socket
        self._receive_into, self._send_all = socket.recv_into, socket.sendall
        self.settimeout(socket.gettimeout())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout of a wait outside of a call, in seconds; it is at most the limit."""
        longest = time_limit.limit_seconds() * SHARE_OF_LIMIT
        seconds = longest if seconds is None else min(seconds, longest)
        self._own = seconds
        self._apply(seconds)

    def _apply(self, seconds: float) -> None:
        self._applied = seconds
        self._socket.settimeout(None if seconds == time_limit.UNLIMITED else seconds)

    def _observe_deadline(self) -> None:
        """Lower the timeout of the socket if the deadline is near; raise TimeoutError if it has passed."""
        deadline = running.deadline
        left = time_limit.UNLIMITED if deadline is None else deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the time limit of this operation of the cache is reached")
        if left < self._applied or self._applied < self._own:
            self._apply(min(left, self._own))

    def recv(self, *args: Any) -> Any:
        self._observe_deadline()
        return self._socket.recv(*args)

    # A hit calls each of these once, so they leave the method out where it would change nothing.

    def recv_into(self, *args: Any) -> Any:
        deadline, applied = running.deadline, self._applied
        if deadline is None or applied != self._own or deadline - monotonic() < applied:
            self._observe_deadline()
        return self._receive_into(*args)

    def sendall(self, *args: Any) -> Any:
        deadline, applied = running.deadline, self._applied
        if deadline is None or applied != self._own or deadline - monotonic() < applied:
            self._observe_deadline()
        return self._send_all(*args)


class LimitedBackoff(AbstractBackoff):
    """The pauses of another backoff, without those that would end after the deadline: there is no further attempt."""

    def __init__(self, backoff: AbstractBackoff):
        self._backoff = backoff

    def reset(self) -> None:
        self._backoff.reset()

    def compute(self, failures: int) -> float:
        """Return the seconds until the next attempt.  If they are too many, raise the error of the last attempt."""
        seconds = self._backoff.compute(failures)
        if seconds < time_limit.seconds_left():
            return seconds
        # redis-py calls this while it handles the error.
        raise sys.exc_info()[1] or redis.TimeoutError("no time is left for another attempt")


class _LimitedConnection:
    """What a limited connection does differently from its base class."""

    _socket_connect_timeout: float | None
    # How many addresses of the host are still to be tried.
    _addresses_left = 1
    socket_timeout: float | None
    retry: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # A copy that belongs to this connection.
        self.retry._backoff = LimitedBackoff(self.retry._backoff)

    @property
    def socket_connect_timeout(self) -> float | None:
        """How long to wait for an address of the host: each gets its share of what is left."""
        left = time_limit.seconds_left() / self._addresses_left
        if self._socket_connect_timeout is not None:
            left = min(left, self._socket_connect_timeout)
        return None if left == time_limit.UNLIMITED else max(left, MIN_SECONDS)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, seconds: float | None) -> None:
        self._socket_connect_timeout = seconds

    def _connect(self) -> Any:
        own = self.socket_timeout
        left = time_limit.seconds_left()
        if left != time_limit.UNLIMITED:
            # It limits each wait of the TLS handshake, which the base class makes here.
            self.socket_timeout = max(left if own is None else min(left, own), MIN_SECONDS)
        try:
            connected = super()._connect()  # type: ignore[misc]
        finally:
            self.socket_timeout = own
        connected.settimeout(own)
        return LimitedSocket(connected)


class _LookingUp:
    """What a limited connection of TCP does differently: redis-py would look up the name of the host itself."""

    library: ClientLibrary
    host: str
    port: int
    socket_type: int
    _addresses_left: int
    _socket_connect_timeout: float | None

    def _connect(self) -> Any:
        if not isinstance(self.host, str) or is_address(self.host):
            return super()._connect()  # type: ignore[misc]
        name, error = self.host, None
        addresses = self._addresses()
        try:
            for i, address in enumerate(addresses):
                self.host, self._addresses_left = address, len(addresses) - i
                try:
                    return super()._connect()  # type: ignore[misc]
                except OSError as failure:
                    error = failure
        finally:
            # A TLS handshake, which comes next, compares the certificate with the name.
            self.host, self._addresses_left = name, 1
        raise error or OSError(f"the host {name} has no address")

    def _addresses(self) -> list[str]:
        longest = self._socket_connect_timeout
        longest = time_limit.UNLIMITED if longest is None else longest
        try:
            return addresses_of(self.host, self.port, self.socket_type, longest)
        except TooLate:
            text = f"the address of {self.host} was not found in time: does the name server answer?"
            raise self.library.part("exceptions", "TimeoutError")(text) from None


@cache
def _limited_class(connection_class: type, library: ClientLibrary) -> type:
    tcp_class = library.part("connection", "Connection")
    bases: tuple[type, ...] = (connection_class,)
    if issubclass(connection_class, tcp_class):
        # Right before the class of plain TCP, and behind that of TLS, which wraps what the former connects.
        looking_up = type(tcp_class.__name__, (_LookingUp, tcp_class), {"library": library})
        bases = (looking_up,) if connection_class is tcp_class else (connection_class, looking_up)
    return type(connection_class.__name__, (_LimitedConnection, *bases), {"unlimited": connection_class})


def is_limited(connection: Any) -> bool:
    """Return whether a connection observes the limit of an operation."""
    return isinstance(connection, _LimitedConnection)


def unlimited_class(connection_class: Any) -> Any:
    """Return the class of redis-py that a class of connections is made of."""
    return getattr(connection_class, "unlimited", connection_class)


def limit_client(client: Any) -> None:
    """Let all connections of `client`, which has made none yet, observe deadlines; of Sentinels as well.

    Clients whose connections are not those of redis-py or of a fork of it, such as fakes, are left as they are.
    """
    pool: Any = getattr(client, "connection_pool", None)
    connection_class = getattr(pool, "connection_class", None)
    connects = getattr(connection_class, "_connect", None)
    library = library_of(type(client))
    is_of_library = library is not None and getattr(connects, "__module__", "").startswith(f"{library.name}.")
    if isinstance(connection_class, type) and is_of_library:
        pool.connection_class = _limited_class(connection_class, library)
        if getattr(pool, "timeout", None) is not None:
            # A blocking pool waits so long for a free connection.
            pool.timeout = min(pool.timeout, time_limit.limit_seconds())
    manager: Sentinel | None = getattr(pool, "sentinel_manager", None)
    for each in manager.sentinels if manager is not None else ():
        limit_client(each)
