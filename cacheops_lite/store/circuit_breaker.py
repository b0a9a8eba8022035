"""When Redis is away: by default its errors surface; with ``CACHEOPS_DEGRADE_ON_FAILURE`` reads go on without it.

A circuit breaker keeps every query from waiting for its own timeout: after a failure Redis is left alone for a while,
then one call tries it while the others still go on without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import redis
from django.core.exceptions import ImproperlyConfigured
from redis import exceptions

from ..conf import on_change, settings
from ..utils import after_fork_in_child

logger = logging.getLogger("cacheops_lite")

T = TypeVar("T")

# Not there, or not there for writing; `LOADING` is a connection error of redis-py.
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
# Errors that redis-py has no class for; scripts begin with the same words.
_REFUSALS = ("MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "UNBLOCKED", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN")
# What a call to Redis is known to raise; everything else interrupts it, and is for the application.
EXPECTED = (redis.RedisError, OSError, ImproperlyConfigured)
# Seconds that Redis is left alone after a failure, doubled with each further one.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0


def is_away(error: BaseException) -> bool:
    """`error` says that Redis can't be reached, or can't do what was asked for now; asked later, it may."""
    return isinstance(error, _AWAY) or (isinstance(error, redis.ResponseError) and str(error).startswith(_REFUSALS))


class CircuitBreaker:
    """Open while Redis is away."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.close()

    def close(self) -> None:
        """Redis is there."""
        self._pause = 0.0
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def allows(self) -> bool:
        """A call may try Redis: while it is closed each, while it is open one after each pause."""
        if not self._pause:
            return True
        with self.lock:
            now = time.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause
            return True

    def note(self, error: Exception) -> None:
        """A call failed."""
        with self.lock:
            if not self._pause:
                logger.warning("Redis is away, going on without it: %r", error)
            self._pause = min(self._pause * 2, LONGEST_PAUSE) or FIRST_PAUSE
            self._retry_at = time.monotonic() + self._pause


breaker = CircuitBreaker()


@on_change
def _forget(setting: str) -> None:
    breaker.close()


@after_fork_in_child
def _renew_in_child() -> None:
    breaker.lock = Lock()


def call(func: Callable[[], T]) -> T:
    """What `func` returns.  Where reads degrade, raises redis.ConnectionError at once while Redis is left alone."""
    if not settings.CACHEOPS_DEGRADE_ON_FAILURE:
        return func()
    if not breaker.allows():
        raise redis.ConnectionError("Redis was away a moment ago, and is left alone for now")
    try:
        result = func()
    except redis.RedisError as error:
        if is_away(error):
            breaker.note(error)
        raise
    if breaker.is_open:
        breaker.close()
        logger.warning("Redis is back")
    return result


def tolerate(func: Callable[[], T], otherwise: T) -> T:
    """What `func` returns; where reads degrade and Redis is away, `otherwise`."""
    # Not by `forgiving`: a hit would take a hundredth longer.
    try:
        return call(func)
    except redis.RedisError as error:
        if not (is_away(error) and settings.CACHEOPS_DEGRADE_ON_FAILURE):
            raise
        return otherwise


@contextmanager
def forgiving() -> Iterator[None]:
    """Where reads degrade, that Redis is away is no error."""
    try:
        yield
    except redis.RedisError as error:
        if not (is_away(error) and settings.CACHEOPS_DEGRADE_ON_FAILURE):
            raise
