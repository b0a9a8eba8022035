"""How long one operation of the cache may wait for Redis in all: ``CACHEOPS_REDIS_TIMEOUT``.

An operation consists of several calls, such as the fence before a commit and its release after it.  They share one
`Budget`.  While a call runs, its thread has a deadline, which the connections observe (see `limited_connection`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from ..conf import settings

T = TypeVar("T")

UNLIMITED = float("inf")


class Role(Enum):
    """What a thread uses Redis for: each has circuit breakers of its own."""

    READ = "read"
    WRITE = "write"
    BACKGROUND = "background"


class _Running(threading.local):
    """What applies to the calls of a thread."""

    role = Role.READ

    # On the monotonic clock, while a call with a budget runs.
    deadline: float | None = None
    # The limit of one command of a thread that works in the background.
    command_seconds: float | None = None


# Connections and `client.execute` look at it directly: each hit does so several times.
running = _Running()


@contextmanager
def in_role(role: Role) -> Iterator[None]:
    """Note what this thread uses Redis for."""
    previous, running.role = running.role, role
    try:
        yield
    finally:
        running.role = previous


def limit_seconds() -> float:
    """Return the limit of one operation of this thread in seconds, infinity if there is none."""
    seconds = settings.CACHEOPS_REDIS_TIMEOUT
    seconds = UNLIMITED if seconds is None else seconds
    return seconds if running.command_seconds is None else min(seconds, running.command_seconds)


def limit_commands(seconds: float) -> None:
    """Limit each command of this thread, which works in the background, to `seconds`."""
    running.command_seconds = seconds


class Budget:
    """The seconds that an operation may still wait for Redis."""

    __slots__ = ("seconds_left",)

    def __init__(self) -> None:
        # Each read makes one, so the common case of `limit_seconds` is inlined.
        seconds = settings.CACHEOPS_REDIS_TIMEOUT
        is_common = seconds is not None and running.command_seconds is None
        self.seconds_left = seconds if is_common else limit_seconds()


def run_within(budget: Budget | None, func: Callable[[], T]) -> T:
    """Call `func`, and subtract the time that it takes from `budget`; once that is used up, calls to Redis time out.

    Within another call, or without a budget, only call it.
    """
    if budget is None or running.deadline is not None:
        return func()
    started = time.monotonic()
    running.deadline = started + budget.seconds_left
    try:
        return func()
    finally:
        running.deadline = None
        budget.seconds_left -= time.monotonic() - started


def run_command(func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call `func`, which sends one command: the limit is that of the operation, without one that of the command."""
    if running.deadline is not None:
        return func(*args, **kwargs)
    return run_within(Budget(), partial(func, *args, **kwargs))


def run_without_limit(func: Callable[[], T]) -> T:
    """Call `func`, which sends as many commands as there is data: each has the limit of one operation."""
    deadline, running.deadline = running.deadline, None
    try:
        return func()
    finally:
        running.deadline = deadline


def seconds_left() -> float:
    """Return how long the running call may still wait, in seconds; without one, the limit of one operation."""
    return limit_seconds() if running.deadline is None else running.deadline - time.monotonic()
