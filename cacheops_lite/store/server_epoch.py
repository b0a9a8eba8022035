"""Tell one life of a Redis server from the next, so that versions die with the server that held them.

A server that restarts from an old snapshot, a replica that is promoted although it lags, and a restored backup bring
versions back that were dropped.  So each table version ends with the *epoch* of the server that it was made on: a
digest of the server's run ID, which changes at each start, and of its replication ID, which changes when a replica is
promoted (``INFO server`` and ``INFO replication``, see https://redis.io/docs/latest/commands/info/).  A reader treats a
version of another epoch as absent, and begins a new dependency index in a new epoch.

The epoch is learnt while a connection is made, and checked again from time to time, because ``REPLICAOF`` keeps
connections.  The same check finds out whether the server takes writes: otherwise it would serve results whose
invalidation it refused.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from ..utils import LruMap
from .outage_log import outages

# In characters, 48 bits.
EPOCH_LENGTH = 8
# How often one connection checks the server.
CHECK_SECONDS = 1.0
# How often a check is tried on connections that return the replies to other requests.
MAX_ATTEMPTS = 3
# The epoch of a server whose run ID can't be read.
UNKNOWN_EPOCH = b""
SECTIONS = ("server", "replication")


# Words of the errors of a server that takes no invalidations, also where a script reports them.
REFUSALS = ("MISCONF", "NOREPLICAS", "READONLY")

# How many clocks a `ServerWatch` remembers: a prefix that depends on the tenant makes a clock for each.
MAX_CLOCKS = 1000


@dataclass(frozen=True)
class Probe:
    """What each check does in addition, see `rollback`.

    `clock_key` returns the key of a clock for a part of its name.  `command` returns a command for that key and the
    latest time of that clock that was seen; its reply is that of ``check_server.lua``.  `on_rollback` is called if the
    clock went back.
    """

    clock_key: Callable[[str], str]
    command: Callable[[str, int], Sequence[Any]]
    on_rollback: Callable[[], None]


_probe: Probe | None = None


def install_probe(probe: Probe | None) -> None:
    """Add `probe` to each check; None removes it."""
    global _probe
    _probe = probe


class EpochChanged(Exception):
    """The server is not the one that a command was made for; the command is to be made again."""


class ServerWatch:
    """What the connections of one client found out about the server that they reach.

    `epoch` is that of the connection that was made or checked last; None before the first one.  `clock_tag` returns a
    part of the name of the clock, see `rollback`.  With `is_node` the server is a node of a cluster, which by itself
    sends the clients of a replica to its primary.
    """

    def __init__(self, clock_tag: Callable[[], str] = str, is_node: bool = False) -> None:
        self._clock_tag, self._is_node = clock_tag, is_node
        self.epoch: bytes | None = None
        self.is_replica = False
        self._check_at = 0.0
        # By the key of a clock in Redis, its latest time that was seen, in milliseconds since 1970.
        self._latest_ms: LruMap[str, int] = LruMap(MAX_CLOCKS)
        self._on_connect: Callable[[Any], object] | None = None

    def install(self, options: dict[str, Any], argument: str = "redis_connect_func") -> dict[str, Any]:
        """Return arguments for a client, such that each connection that it makes is noted here.

        `argument` is the name of that of a function which is called with each new connection.
        """
        previous = options.get(argument)
        if isinstance(watch := getattr(previous, "__self__", None), ServerWatch):
            # An earlier client used the same pool.
            previous = watch._on_connect
        self._on_connect = previous
        return {**options, argument: self.note_connection}

    def check_if_unnoted(self, connection: Any) -> None:
        """Look at a connection that was taken from a pool, if `note_connection` is not called when it is made."""
        if getattr(connection, "redis_connect_func", None) == self.note_connection:
            return
        try:
            self.check(connection)
        except redis.ConnectionError:
            # An earlier user left a reply unread, which has arrived only now.
            connection.disconnect()
            connection.connect()
            self.check(connection)

    def forget(self) -> None:
        """Look again before the next command."""
        self._check_at, self.epoch, self.is_replica = 0.0, None, False

    def note_connection(self, connection: Any) -> None:
        """Do what redis-py does with a new connection, then learn which server it reaches."""
        if self._on_connect is None:
            connection.on_connect()
        else:
            self._on_connect(connection)
        self.check(connection)

    def check(self, connection: Any) -> None:
        """Ask for the server's epoch and role on a connection that has no pending replies.  Raises errors of Redis."""
        for section in SECTIONS:
            connection.send_command("INFO", section, check_health=False)
        replies = []
        for _ in SECTIONS:
            try:
                replies.append(connection.read_response())
            except redis.ResponseError as error:
                replies.append(error)
        connection.cacheops_epoch = self._note(replies)
        if connection.cacheops_epoch is None:
            raise redis.ConnectionError("Redis sent the reply to another request")
        connection.cacheops_check_at = time.monotonic() + CHECK_SECONDS

    def check_and_probe(self, connection: Any) -> None:
        """Do what `check` does, and find out whether the server takes writes.  Raises its error if it does not."""
        self.check(connection)
        connection.cacheops_check_at = 0.0
        self._probe(lambda *command: _request(connection, command))
        connection.cacheops_check_at = time.monotonic() + CHECK_SECONDS

    def _probe(self, execute: Callable[..., Any]) -> None:
        if _probe is None or self.epoch == UNKNOWN_EPOCH or self.is_replica:
            return
        probe, key = _probe, _probe.clock_key(self._clock_tag())
        latest_ms = self._latest_ms.get(key) or 0
        try:
            reply = execute(*probe.command(key, latest_ms))
        except redis.ResponseError as error:
            if any(word in str(error) for word in REFUSALS):
                raise
            return
        if not (type(reply) is list and len(reply) == 2 and all(type(each) is bytes for each in reply)):
            raise redis.ConnectionError("Redis sent the reply to another request")
        before_ms, now_ms = map(int, reply)
        if now_ms:
            self._latest_ms.put(key, max(latest_ms, now_ms))
        else:
            self._latest_ms.put(key, before_ms)
            probe.on_rollback()

    def check_through(self, client: Any) -> None:
        """Do the same through a client whose connections are out of reach, if the last check is long ago."""
        if self.epoch is not None and time.monotonic() < self._check_at:
            return
        for _ in range(MAX_ATTEMPTS):
            if self._note([_info_through(client, section) for section in SECTIONS]) is not None:
                self._check_at = 0.0
                self._probe(client.execute_command)
                self._check_at = time.monotonic() + CHECK_SECONDS
                return
            # An idle connection has a reply that its last user left unread.
            client.connection_pool.disconnect(inuse_connections=False)
        raise redis.ConnectionError("Redis keeps sending the replies to other requests")

    def _note(self, replies: list[Any]) -> bytes | None:
        """Take what INFO replied, as text, as redis-py's dict or as an error; return the epoch.

        None if the replies belong to another request.
        """
        server, replication = replies
        if not (_is_info(server, "redis_version") and _is_info(replication, "role")):
            return None
        self._check_at = time.monotonic() + CHECK_SECONDS
        self.is_replica = not self._is_node and _field(replication, "role") == "slave"
        ids = _field(server, "run_id"), _field(replication, "master_replid")
        for error in replies:
            if isinstance(error, redis.ResponseError) and "unknown command" not in str(error):
                message = "Redis does not tell its run ID, so results may be stale after it restarts from a snapshot"
                outages.report_failure(logging.WARNING, message, error)
        digest = hashlib.blake2b(repr(ids).encode(), digest_size=EPOCH_LENGTH * 3 // 4).digest()
        self.epoch = base64.urlsafe_b64encode(digest) if ids[0] else UNKNOWN_EPOCH
        return self.epoch


def role_of(reply: Any) -> tuple[str, str]:
    """Return the role and the replication ID in a reply to ``INFO replication``, as text; empty if it is none."""
    return _field(reply, "role"), _field(reply, "master_replid")


def _request(connection: Any, command: Sequence[Any]) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()


def _info_through(client: Any, section: str) -> Any:
    try:
        return client.execute_command("INFO", section)
    except redis.ResponseError as error:
        return error
    except (AttributeError, TypeError, ValueError):
        # redis-py could not convert it, because it belongs to another request.
        return None


def _is_info(reply: Any, name: str) -> bool:
    """Return whether this is a reply to INFO, which has a field of this name, or an error."""
    return isinstance(reply, redis.ResponseError) or bool(_field(reply, name))


def _field(reply: Any, name: str) -> str:
    """Return a field of a reply to INFO, empty if it has none."""
    if isinstance(reply, dict):
        return str(reply.get(name, ""))
    if isinstance(reply, bytes):
        reply = reply.decode("utf-8", "replace")
    found = re.search(rf"(?:^|\n|:){name}:(\w+)", reply) if isinstance(reply, str) else None
    return found[1] if found else ""
