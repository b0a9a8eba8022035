"""Run what can't be interrupted in a thread, and wait for it no longer than the running call may.

A lookup of a host name, and the first contact of a client library with a cluster, have no time limit.  Here a caller
whose time is up goes on, and so does the work: a later caller gets its result.  So at most one thread per key waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

from ..utils import after_fork_in_child
from . import time_limit

T = TypeVar("T")

# How long an error that came too late for its callers is raised to the next one.
ERROR_SECONDS = 5.0


class TooLate(Exception):
    """The work has not ended within the time that its caller may wait."""


class _Call(Generic[T]):
    """One call of a function in a thread of its own."""

    def __init__(self, func: Callable[[], T]):
        self._func = func
        self._result: Any = None
        self._error: BaseException | None = None
        self._ended_at = 0.0
        self.ended = Event()
        # A daemon: a process that ends does not wait for it.
        Thread(target=self._run, name="cacheops_lite.store.shared_work", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._func()
        except BaseException as error:
            self._error = error
        self._ended_at = time.monotonic()
        self.ended.set()
        # The traceback of an error refers to this frame, and would keep the frames of all its callers alive.
        del self

    def is_outdated(self, kept_seconds: float) -> bool:
        """Return whether the call ended so long ago that its result does not count any more."""
        if self._error is not None:
            kept_seconds = min(kept_seconds, ERROR_SECONDS)
        return self.ended.is_set() and time.monotonic() > self._ended_at + kept_seconds

    def result(self) -> T:
        error = self._error
        try:
            if error is not None:
                raise error
            return self._result
        finally:
            # For the same reason.
            del self, error


class SharedWork(Generic[T]):
    """Calls by keys.  Callers of the same key share one call, and its result.

    A result that came too late is kept for the next caller for `kept_seconds`.
    """

    def __init__(self, kept_seconds: float):
        self._kept_seconds = kept_seconds
        self.forget()
        # The threads of the parent do not exist in a child process.
        after_fork_in_child(self.forget)

    def forget(self) -> None:
        """Let later callers neither wait for a call that is running, nor get its result."""
        self._lock = Lock()
        self._calls: dict[Hashable, _Call[T]] = {}

    def call(self, key: Hashable, func: Callable[[], T], max_seconds: float = time_limit.UNLIMITED) -> T:
        """Return the result of `func`, or raise its error; it runs in a thread, unless a call for `key` is running.

        Raises TooLate after `max_seconds`, or when the running call may wait no longer.
        """
        seconds = min(max_seconds, time_limit.seconds_left())
        with self._lock:
            call = self._calls.get(key)
            if call is None or call.is_outdated(self._kept_seconds):
                self._forget_outdated()
                call = self._calls[key] = _Call(func)
        try:
            if not call.ended.wait(None if seconds == time_limit.UNLIMITED else max(0, seconds)):
                raise TooLate
            with self._lock:
                if self._calls.get(key) is call:
                    del self._calls[key]
            return call.result()
        finally:
            del call

    def _forget_outdated(self) -> None:
        for key in [key for key, call in self._calls.items() if call.is_outdated(self._kept_seconds)]:
            del self._calls[key]
