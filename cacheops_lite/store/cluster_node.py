"""A node of a Redis Cluster: its connections, its epoch, and its circuit breakers.

A node that does not answer must not keep operations on the others waiting, nor turn the cache off for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis

from ..conf import settings
from .circuit_breaker import CircuitBreaker
from .client_library import library_of
from .connection_support import make_command_name_optional
from .error_translation import translate_errors
from .failure_kinds import is_outage, of_one_node
from .limited_connection import limit_client
from .redis_connection import DirectClient
from .server_epoch import ServerWatch
from .time_limit import Role, running

T = TypeVar("T")

logger = logging.getLogger("cacheops_lite")

# How many hash tags are tried for one of the slots of a node.
MAX_TAGS = 10000


class NodeBreaker(CircuitBreaker):
    """The breaker of one node; it logs when it opens and when it closes."""

    def __init__(self, name: str, consequence: str):
        self._name, self._consequence = name, consequence
        super().__init__()

    def _report(self, error: Exception) -> None:
        logger.warning("The node %s of the Redis Cluster is away, %s: %s", self._name, self._consequence, error)

    def close(self) -> None:
        """Let every call try the node again."""
        if self.is_open:
            logger.info("The node %s of the Redis Cluster is back", self._name)
        super().close()


class ClusterNode:
    """The node `name` of a cluster.  `serves` tells whether a node serves the slot of a key."""

    def __init__(self, name: str, client: Any, serves: Callable[[str, str], bool]):
        self.name = name
        self.watch = ServerWatch(self.tag, is_node=True)
        self.breaker = NodeBreaker(name, "going on without what it has")
        self.write_breaker = NodeBreaker(name, "its invalidations are left to a background thread")
        self._serves, self._tag_number = serves, 0
        library = library_of(type(client))
        if library is not None:
            pool = client.connection_pool
            if settings.CACHEOPS_REDIS_TIMEOUT is not None:
                limit_client(client)
            make_command_name_optional(client)
            translate_errors(client, library)
            pool.connection_kwargs.update(self.watch.install(pool.connection_kwargs, library.connect_argument))
            # Those that the library has made already are not watched.
            pool.disconnect()
            pool.reset()
        self.direct = DirectClient(client, self.watch)

    def execute(self, command: Sequence[Any], epoch: bytes | None) -> Any:
        """Do what `DirectClient.execute` does, unless a breaker is open."""
        return self._guarded(lambda: self.direct.execute(*command, epoch=epoch))

    def execute_asking(self, command: Sequence[Any]) -> Any:
        """Do what `DirectClient.execute_asking` does, unless a breaker is open."""
        return self._guarded(lambda: self.direct.execute_asking(*command))

    @property
    def is_left_alone(self) -> bool:
        """Whether a breaker is open."""
        return self.breaker.is_open or self.write_breaker.is_open

    def _guarded(self, func: Callable[[], T]) -> T:
        if self.is_left_alone and not self._allows_call():
            raise of_one_node(redis.ConnectionError(f"the node {self.name} was away a moment ago, and is left alone"))
        try:
            reply = func()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if is_outage(error):
                self._record(error)
                raise of_one_node(error) from error.__cause__
            raise
        if self.is_left_alone:
            self.breaker.close()
            self.write_breaker.close()
        return reply

    def _allows_call(self) -> bool:
        if running.role is Role.READ:
            return not settings.CACHEOPS_DEGRADE_ON_FAILURE or self.breaker.allows_call()
        return running.role is Role.BACKGROUND or self.write_breaker.allows_call()

    def _record(self, error: Exception) -> None:
        if settings.CACHEOPS_DEGRADE_ON_FAILURE:
            self.breaker.record_failure(error)
        if running.role is Role.WRITE and isinstance(error, redis.TimeoutError):
            self.write_breaker.record_failure(error)

    def tag(self) -> str:
        """Return a hash tag of a slot of this node, for keys that lead to it; empty if it has no slot."""
        for _ in range(MAX_TAGS):
            tag = f"{{{self._tag_number}}}"
            if self._serves(self.name, tag):
                return tag
            self._tag_number = (self._tag_number + 1) % MAX_TAGS
        return ""
