"""Repeat a failed delivery in a background thread until it succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

from ..utils import after_fork_in_child

# Between two attempts; the pause doubles with each.
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 5.0


class BackgroundRetry:
    """A thread that calls `deliver`, with longer and longer pauses, until `is_done` returns True; then it ends.

    What `deliver` raises is ignored: it is called again.
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
        pause = FIRST_PAUSE_SECONDS
        while True:
            time.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
            with suppress(Exception):
                self._deliver()
            with self._lock:
                if self._is_done():
                    self._thread = None
                    return
