"""Run commands on the nodes of a Redis Cluster, each on the node that serves the slot of its key.

The client library keeps the map of slots.  Commands go out on connections that are kept open (`redis_connection`), one
`DirectClient` for each node, because each node has an epoch of its own.  Only primaries are asked: a replica lags.
See https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ for redirections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from redis import exceptions
from redis.crc import key_slot

from .client_library import library_of
from .cluster_node import ClusterNode
from .redis_connection import ErrorCallback, Request
from .server_epoch import UNKNOWN_EPOCH
from .shared_work import SharedWork, TooLate
from .time_limit import seconds_left

# How often a command follows a redirection.
MAX_REDIRECTIONS = 5
# Between two times that this process asks for the map of slots.
REFRESH_SECONDS = 0.2
# The library asks one node after the other.  What one learnt a while ago does not count any more.
_refreshes: SharedWork[None] = SharedWork(kept_seconds=0)
# The position of the first key in commands that do not have it first.
_KEY_POSITIONS = {"EVAL": 3, "EVALSHA": 3}


class ClusterClient:
    """The nodes of one cluster, as `client`, the client library's own, knows them."""

    def __init__(self, client: Any):
        self.client = client
        library = library_of(type(client))
        # How the library calls the client of a node.
        self._attribute = "redis_connection" if library is None else f"{library.name}_connection"
        self._connected = getattr(client, f"get_{self._attribute}")
        self._nodes: dict[str, ClusterNode] = {}
        self._lock = RLock()
        self._refresh_at = 0.0

    # What `DirectClient` has as well.

    def execute(self, *command: Any, epoch: bytes | None = None) -> Any:
        """Return the reply to an idempotent command with one key, or with keys of one slot; its first key comes first.

        Raises TryAgainError while some of its keys have moved to another node and others have not, or, with `epoch`, if
        its key has; EpochChanged, if the node is not of that epoch; and other errors of Redis.
        """
        key = _key_of(command)
        error: redis.RedisError | None = None
        for _ in range(MAX_REDIRECTIONS):
            node = self._node_of(key)
            try:
                return node.execute(command, epoch)
            except exceptions.MovedError as moved:
                error = moved
                self._follow(moved)
            except exceptions.AskError as ask:
                if epoch is not None:
                    # The other node is of another epoch.
                    raise exceptions.TryAgainError("TRYAGAIN the slot is moving to another node") from ask
                return self._node_at(ask.host, ask.port).execute_asking(command)
            except (redis.ConnectionError, redis.TimeoutError) as failure:
                if not self._is_replaced(node, key):
                    raise
                error = failure
        raise error or redis.ConnectionError("the nodes of the cluster disagree about a slot")

    def execute_many(self, requests: Sequence[Request]) -> list[Any]:
        """Return the replies to commands, errors of Redis among them; those for different nodes run at the same time.

        Raises EpochChanged.
        """
        replies: list[Any] = [None] * len(requests)
        unsent = list(range(len(requests)))
        started: list[tuple[ClusterNode, list[int], Any]] = []
        try:
            if len(requests) > 1:
                for node, positions in self._by_node(requests).items():
                    opened = node.direct.start([requests[i] for i in positions])
                    if opened is not None:
                        started.append((node, positions, opened))
            while started:
                node, positions, opened = started[-1]
                found = node.direct.finish(opened, [requests[i] for i in positions])
                # Only now: an interrupt before would leave the connection with an unread reply.
                started.pop()
                if found is not None:
                    node.direct.put_back(opened)
                for position, reply in zip(positions, found or (), strict=False):
                    if not isinstance(reply, exceptions.AskError):
                        replies[position] = reply
                        unsent.remove(position)
        finally:
            for node, _, opened in started:
                node.direct.discard(opened)
        for position in unsent:
            command, epoch = requests[position]
            try:
                replies[position] = self.execute(*command, epoch=epoch)
            except redis.RedisError as error:
                replies[position] = error
        return replies

    def send(self, on_error: ErrorCallback, *command: Any, check_connection: bool = False) -> None:
        """Do what `DirectClient.send` does."""

        def report(error: redis.RedisError) -> None:
            if isinstance(error, exceptions.MovedError):
                self._refresh_at = 0.0
            on_error(error)

        try:
            self._node_of(_key_of(command)).direct.send(report, *command, check_connection=check_connection)
        except exceptions.AskError:
            self.execute(*command)

    def epoch(self, key: Any) -> bytes:
        """Return the epoch of the node that serves a key.  Raises errors of Redis."""
        epoch = self._node_of(key).watch.epoch
        if epoch is None:
            # The epoch is learnt with the connection.
            self.execute("MGET", key)
            epoch = self._node_of(key).watch.epoch
        return epoch or UNKNOWN_EPOCH

    def last_epoch(self, key: Any) -> bytes:
        """Return that epoch without asking for it."""
        return self._node_of(key).watch.epoch or UNKNOWN_EPOCH

    def close(self) -> None:
        """Close all idle connections."""
        for node in list(self._nodes.values()):
            node.direct.close()
            node.direct.client.connection_pool.disconnect(inuse_connections=False)

    def clients(self) -> dict[str, Any]:
        """Return a client for each primary that has slots, by a hash tag of a slot of its."""
        with _translating_errors():
            nodes = [self._adopted(node) for node in self.client.get_primaries()]
        return {tag: node.direct.client for node in nodes if (tag := node.tag())}

    def client_for(self, key: Any) -> Any:
        """Return the client for the node that serves a key."""
        return self._node_of(key).direct.client

    def renew_locks(self) -> None:
        """Do so in a child process: a thread of the parent may have owned them."""
        self._lock = RLock()
        for node in self._nodes.values():
            node.breaker.lock, node.write_breaker.lock = Lock(), Lock()

    # Nodes.

    def _by_node(self, requests: Sequence[Request]) -> dict[ClusterNode, list[int]]:
        """Return the positions of the commands that may be sent at once, by their nodes."""
        found: dict[ClusterNode, list[int]] = {}
        for i, (command, _) in enumerate(requests):
            try:
                node = self._node_of(_key_of(command))
            except redis.RedisError:
                continue
            if not node.is_left_alone:
                found.setdefault(node, []).append(i)
        return found

    def _node_of(self, key: Any) -> ClusterNode:
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        for _ in range(2):
            nodes = self.client.nodes_manager.slots_cache.get(slot)
            if nodes:
                node = self._nodes.get(nodes[0].name)
                if node is not None and node.direct.client is getattr(nodes[0], self._attribute):
                    return node
                return self._adopted(nodes[0])
            self.refresh()
        raise exceptions.ClusterDownError("CLUSTERDOWN no node serves the slot of a key")

    def _node_at(self, host: str, port: int) -> ClusterNode:
        found = self.client.get_node(host, port)
        if found is None:
            self._refresh_at = 0.0
            self.refresh()
            found = self.client.get_node(host, port)
        if found is None:
            raise redis.ConnectionError(f"the node {host}:{port} is not known to the cluster")
        return self._adopted(found)

    def _adopted(self, found: Any) -> ClusterNode:
        """Return what this keeps of a node of the client library."""
        with self._lock:
            with _translating_errors():
                client = self._connected(found)
            node = self._nodes.get(found.name)
            if node is None or node.direct.client is not client:
                node = self._nodes[found.name] = ClusterNode(found.name, client, self._serves)
            return node

    def _serves(self, name: str, key: str) -> bool:
        """Return whether the node with this name serves the slot of a key."""
        nodes = self.client.nodes_manager.slots_cache.get(key_slot(key.encode()))
        return bool(nodes) and nodes[0].name == name

    def _follow(self, moved: Any) -> None:
        """Note that a slot has moved."""
        if not moved.host or self.client.get_node(moved.host, moved.port) is None:
            self._refresh_at = 0.0
            self.refresh()
            return
        nodes = self.client.nodes_manager
        if hasattr(nodes, "move_slot"):
            nodes.move_slot(moved)
            return
        # valkey-py, and redis-py before 7.2: the library notes one redirection, and follows it at the next request.
        with self._lock:
            nodes.update_moved_exception(moved)
            nodes.get_node_from_slot(moved.slot_id)

    def _is_replaced(self, node: ClusterNode, key: Any) -> bool:
        """Return whether, after a failure, the cluster says that another node serves a key by now."""
        if seconds_left() <= 0:
            return False
        try:
            self.refresh()
            return self._node_of(key) is not node
        except redis.RedisError:
            return False

    def refresh(self) -> None:
        """Ask the cluster which node serves which slots, unless that was done just before.  Raises errors of Redis."""
        now = time.monotonic()
        if now < self._refresh_at:
            return
        self._refresh_at = now + REFRESH_SECONDS
        with _translating_errors():
            _refreshes.call(self, self.client.nodes_manager.initialize)


def _key_of(command: Sequence[Any]) -> Any:
    return command[_KEY_POSITIONS.get(command[0], 1)]


@contextmanager
def _translating_errors() -> Iterator[None]:
    """Raise what the client library raises about a cluster, which is no error of Redis to it, as such."""
    try:
        yield
    except (redis.RedisError, ImproperlyConfigured):
        raise
    except TooLate:
        raise redis.TimeoutError("the nodes of the cluster did not answer in time") from None
    except Exception as error:
        raise cluster_error(error) from error


def cluster_error(error: Exception) -> Exception:
    """Return the error of Redis that an error of the client library about a cluster means, else the same error."""
    cause = error.__cause__
    if isinstance(cause, redis.RedisError):
        return cause
    if not type(error).__module__.endswith(".exceptions"):
        return error
    if "Cluster mode is not enabled" in str(error):
        return redis.ResponseError(str(error))
    return redis.ConnectionError(str(error))


def call_cluster(func: Callable[[], Any]) -> Any:
    """Call `func`, which uses a client of the library for a cluster, and return its result.  Raises errors of Redis."""
    with _translating_errors():
        return func()
