"""Call Redis through circuit breakers.  docs/production/outages.rst has a table of what follows from each failure.

A breaker keeps an operation from waiting for a timeout that another operation has just waited for.  A failure opens it
(`CircuitBreaker.record_failure`): no call tries Redis during a pause.  After the pause one call tries Redis, while the
others still go on without it.  A success closes it.

- The breaker of reads is used only with ``CACHEOPS_DEGRADE_ON_FAILURE``, where reads fall back to the database.
- The breaker of writes opens after timeouts only: an error that is raised at once costs no time.  Writes ignore the
  breaker of reads, because a late invalidation is worse than a slow write.
- Each node of a Redis Cluster has breakers of its own, see `cluster_node`.
- Background threads, which deliver kept invalidations, ignore both breakers.  Their success closes both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TypeVar

import redis

from ..conf import on_change, settings
from ..utils import after_fork_in_child
from .failure_kinds import FailureKind, is_of_one_node, is_outage, kind_of
from .outage_log import outages
from .redis_errors import explain_error
from .time_limit import Budget, Role, in_role, run_within, running, seconds_left

T = TypeVar("T")

# How long no call tries Redis after a failure; the pause doubles with each further failure.
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 2.0
# The pause between two attempts of a write to get a connection while all are in use.
CONNECTION_PAUSE_SECONDS = 0.005


class CircuitBreaker:
    """Open while Redis is unavailable.  When it opens, `message` is logged."""

    def __init__(self, message: str = "Redis is away, going on without it") -> None:
        self._message = message
        self.lock = Lock()
        self._reset()

    def _reset(self) -> None:
        self._pause = 0.0
        self._retry_at = 0.0
        self._is_trying = False

    def close(self) -> None:
        """Let every call try Redis again."""
        self._reset()

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
            self._is_trying = True
            return True

    def record_failure(self, error: Exception) -> None:
        """Open the breaker after a call failed; lengthen its pause if that was the one that it allowed to try."""
        with self.lock:
            if not self._pause:
                self._report(error)
            elif not self._is_trying:
                # This call began before the breaker opened.
                return
            self._is_trying = False
            self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS) or FIRST_PAUSE_SECONDS
            self._retry_at = time.monotonic() + self._pause

    def _report(self, error: Exception) -> None:
        outages.report_failure(logging.WARNING, self._message, error)


breaker = CircuitBreaker()
write_breaker = CircuitBreaker("Redis does not answer, so invalidations are left to a background thread")


@on_change
def _close_breakers(setting: str) -> None:
    breaker.close()
    write_breaker.close()


@after_fork_in_child
def _renew_locks_in_child() -> None:
    breaker.lock, write_breaker.lock = Lock(), Lock()


def call(func: Callable[[], T], budget: Budget | None = None) -> T:
    """Call `func`, by which a read uses Redis, and return its result.  Its errors are explained.

    It takes at most what is left of `budget`; without one, that limit applies to each command.  With
    ``CACHEOPS_DEGRADE_ON_FAILURE`` it raises redis.ConnectionError at once while the breaker is open.
    """
    if settings.CACHEOPS_DEGRADE_ON_FAILURE and not breaker.allows_call():
        raise _error_while_open(redis.ConnectionError)
    try:
        result = run_within(budget, func)
    except redis.RedisError as error:
        explain_error(error)
        _record_outage(error)
        raise
    _note_success()
    return result


def call_for_write(func: Callable[[], T], budget: Budget | None = None) -> T:
    """Call `func`, by which a write uses Redis, whatever happened to reads; else do what `call` does.

    Raises redis.TimeoutError at once while the breaker of writes is open.  Where all connections of this process are in
    use, it waits for one.
    """
    if not write_breaker.allows_call():
        raise _error_while_open(redis.TimeoutError)
    try:
        # Not by means of `in_role`: each write comes this way twice.
        previous, running.role = running.role, Role.WRITE
        try:
            result = run_within(budget or Budget(), partial(_call_when_connected, func))
        finally:
            running.role = previous
    except redis.RedisError as error:
        explain_error(error)
        if isinstance(error, redis.TimeoutError) and not is_of_one_node(error):
            write_breaker.record_failure(error)
        _record_outage(error)
        raise
    _note_success()
    return result


def _call_when_connected(func: Callable[[], T]) -> T:
    while True:
        try:
            return func()
        except redis.ConnectionError as error:
            if kind_of(error) is not FailureKind.OURSELVES or seconds_left() <= CONNECTION_PAUSE_SECONDS:
                raise
        time.sleep(CONNECTION_PAUSE_SECONDS)


def call_in_background(func: Callable[[], T]) -> T:
    """Call `func`, by which a background thread uses Redis, even while the breakers are open."""
    try:
        with in_role(Role.BACKGROUND):
            result = func()
    except redis.RedisError as error:
        explain_error(error)
        raise
    _note_success()
    return result


def _record_outage(error: redis.RedisError) -> None:
    """Open the breaker of reads if `error` means that Redis cannot be used for now."""
    if settings.CACHEOPS_DEGRADE_ON_FAILURE and is_outage(error) and not is_of_one_node(error):
        breaker.record_failure(error)


def _note_success() -> None:
    if breaker.is_open:
        breaker.close()
    if write_breaker.is_open:
        write_breaker.close()
    if outages.is_outage:
        outages.report_success()


def _error_while_open(error_class: type[redis.RedisError]) -> redis.RedisError:
    error = error_class("Redis was away a moment ago, and is left alone for now")
    explain_error(error)
    return error


def call_or_default(func: Callable[[], T], default: T, budget: Budget | None = None) -> T:
    """Do what `call` does; return `default` after a failure that reads tolerate (see `suppress_tolerated`)."""
    # Not by `suppress_tolerated`, with which a hit takes 1 percent longer.
    try:
        return call(func, budget)
    except redis.RedisError as error:
        if not _is_tolerated(error):
            raise
        return default


@contextmanager
def suppress_tolerated() -> Iterator[None]:
    """Suppress the errors of Redis after which a read goes on without the cache.

    These are defects and limits of this process, which are logged, and with ``CACHEOPS_DEGRADE_ON_FAILURE`` outages.
    """
    try:
        yield
    except redis.RedisError as error:
        if not _is_tolerated(error):
            raise


def _is_tolerated(error: redis.RedisError) -> bool:
    kind = kind_of(error)
    if kind is FailureKind.DEFECT:
        outages.report_failure(logging.ERROR, "The cache can't be used here, so this counts as a miss", error)
    elif kind is FailureKind.OURSELVES:
        outages.report_failure(logging.WARNING, "The cache is not used for now", error)
    else:
        return kind is not FailureKind.MISCONFIGURED and settings.CACHEOPS_DEGRADE_ON_FAILURE
    return True
