"""Repeat a failed delivery in a background thread until it succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

from ..utils import after_fork_in_child
from . import time_limit

# Between two attempts; the pause doubles with each.  Together with an attempt, the longest one stays below the half
# second within which a process delivers what it owes once Redis is back.
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.2
# How long one command may take.  A packet that was lost is sent again late, so an attempt on a new connection is faster
# than waiting; every few attempts wait longer, for a server that is slow rather than away.
ATTEMPT_SECONDS = 0.25
LONG_ATTEMPT_SECONDS = 2.0
ATTEMPTS_PER_LONG_ONE = 8


class BackgroundRetry:
    """A thread that calls `deliver`, with longer and longer pauses, until `is_done` returns True; then it ends.

    It does not call `deliver` if another thread has delivered everything meanwhile: such a call would succeed without
    reaching Redis, and so end an outage that still lasts.  If `deliver` raises an exception, it is called again.
    """

    def __init__(self, name: str, deliver: Callable[[], object], is_done: Callable[[], bool]):
        self._name, self._deliver, self._is_done = name, deliver, is_done
        self._reset()
        after_fork_in_child(self._reset)

    def _reset(self) -> None:
        self._thread: Thread | None = None
        self._lock = Lock()

    def start(self) -> None:
        """Start the thread, unless it is running."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._repeat, name=self._name, daemon=True)
                self._thread.start()

    def _repeat(self) -> None:
        pause, attempts = FIRST_PAUSE_SECONDS, 0
        while True:
            time.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
            attempts += 1
            is_long = attempts % ATTEMPTS_PER_LONG_ONE == 0
            time_limit.limit_commands(LONG_ATTEMPT_SECONDS if is_long else ATTEMPT_SECONDS)
            with suppress(Exception):
                if not self._is_done():
                    self._deliver()
            with self._lock:
                if self._is_done():
                    self._thread = None
                    return
