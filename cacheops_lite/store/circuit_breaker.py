"""What happens while Redis is unavailable: by default its errors surface; with ``CACHEOPS_DEGRADE_ON_FAILURE`` reads
fall back to the database.

A circuit breaker keeps every query from waiting for its own timeout: after a failure no call tries Redis for a pause;
then one call tries it, while the others still go without it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import redis

from ..conf import on_change, settings
from ..utils import after_fork_in_child
from .outage_log import outages
from .redis_errors import explain_error, is_away

T = TypeVar("T")

# How long no call tries Redis after a failure; the pause doubles with each further failure.
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 15.0


class CircuitBreaker:
    """Open while Redis is unavailable."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.close()

    def close(self) -> None:
        """Let every call try Redis again."""
        self._pause = 0.0
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def allows_call(self) -> bool:
        """Return whether a call may try Redis: every call if the breaker is closed, else one after each pause."""
        if not self._pause:
            return True
        with self.lock:
            now = time.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause
            return True

    def record_failure(self, error: Exception) -> None:
        """Open the breaker, or lengthen its pause, after a call failed."""
        with self.lock:
            if not self._pause:
                outages.report_failure(logging.WARNING, "Redis is away, going on without it", error)
            self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS) or FIRST_PAUSE_SECONDS
            self._retry_at = time.monotonic() + self._pause


breaker = CircuitBreaker()


@on_change
def _close_breaker(setting: str) -> None:
    breaker.close()


@after_fork_in_child
def _renew_lock_in_child() -> None:
    breaker.lock = Lock()


def call(func: Callable[[], T]) -> T:
    """Call `func`, which uses Redis, through the circuit breaker, and return its result.  Its errors are explained.

    With ``CACHEOPS_DEGRADE_ON_FAILURE`` it raises redis.ConnectionError at once while the breaker is open.
    """
    is_degrading = settings.CACHEOPS_DEGRADE_ON_FAILURE
    if is_degrading and not breaker.allows_call():
        raise _left_alone()
    try:
        result = func()
    except redis.RedisError as error:
        explain_error(error)
        if is_degrading and is_away(error):
            breaker.record_failure(error)
        raise
    if is_degrading and breaker.is_open:
        breaker.close()
    if outages.is_outage:
        outages.report_success()
    return result


def _left_alone() -> redis.ConnectionError:
    error = redis.ConnectionError("Redis was away a moment ago, and is left alone for now")
    explain_error(error)
    return error


def call_or_default(func: Callable[[], T], default: T) -> T:
    """Do what `call` does; with ``CACHEOPS_DEGRADE_ON_FAILURE`` return `default` if Redis is unavailable."""
    # Not by means of `suppress_outage`: a hit would take a hundredth longer.
    try:
        return call(func)
    except redis.RedisError as error:
        if not (is_away(error) and settings.CACHEOPS_DEGRADE_ON_FAILURE):
            raise
        return default


@contextmanager
def suppress_outage() -> Iterator[None]:
    """With ``CACHEOPS_DEGRADE_ON_FAILURE``, suppress the errors that mean that Redis is unavailable."""
    try:
        yield
    except redis.RedisError as error:
        if not (is_away(error) and settings.CACHEOPS_DEGRADE_ON_FAILURE):
            raise
