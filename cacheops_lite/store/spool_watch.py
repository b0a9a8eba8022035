"""Look for what dead processes owe while this process is idle.

Each process that has used the cache has a thread that waits for a lock, asleep in the kernel.  The owner of the lock
looks several times a second.  When its process ends, however it ends, the kernel gives the lock to the next one.  So
only one thread per project and host works.

The lock only saves work: a process that can't open its file looks without it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock, Thread

from ..conf import on_change
from ..utils import after_fork_in_child
from . import spool_directory
from .spool_directory import fcntl

# The pause between two looks.  Together with the first attempt of `background_retry`, it stays below the half second
# within which what a dead process owes is delivered.
WATCH_SECONDS = 0.2
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class _Watch:
    """A thread that calls `take_over` while it owns the lock, until the settings name another one."""

    def __init__(self, path: Path, take_over: Callable[[], object]) -> None:
        self.path, self._take_over = path, take_over
        self._descriptor = -1
        self._thread = Thread(target=self._run, name="cacheops_lite.store.spool_watch", daemon=True)

    def start(self) -> None:
        """Start the thread, after `_current` was set to this: it ends if that is another one."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        with suppress(OSError):
            self._wait_for_lock()
        while _current is self and self.path == lock_path():
            with suppress(Exception):
                self._take_over()
            time.sleep(WATCH_SECONDS)
        if self._descriptor >= 0:
            with suppress(OSError):
                os.unlink(self.path)
            self.close()

    def _wait_for_lock(self) -> None:
        """Return once this process owns the lock.  Raises OSError if it can't."""
        while True:
            self._descriptor = os.open(self.path, _OPEN, 0o600)
            try:
                found = os.fstat(self._descriptor)
                if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                    raise PermissionError(f"{self.path} belongs to another user")
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                if os.fstat(self._descriptor).st_nlink:
                    return
            except OSError:
                self.close()
                raise
            # The last owner removed it.
            self.close()

    def close(self) -> None:
        """Close the file.  The lock is released, unless this process is a forked child."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_current: _Watch | None = None
_lock = Lock()


def start(take_over: Callable[[], object]) -> None:
    """Let `take_over` be called while this process is idle, if settings and process permit it.  Raises nothing."""
    global _current
    path = lock_path()
    if path is None or not _has_threads():
        return
    with _lock:
        if _current is None or _current.path != path or not _current.is_alive:
            # Python starts no thread while it exits.
            with suppress(RuntimeError):
                _current = _Watch(path, take_over)
                _current.start()


@cache
def lock_path() -> Path | None:
    """Return the path of the lock, which is that of this user, project and directory; None if there are no spools."""
    if not spool_directory.is_used():
        return None
    try:
        folder = tempfile.gettempdir()
    except OSError:
        # There is none; then it can't be opened either.
        folder = ""
    watched = f"{spool_directory.directory()}\n{spool_directory.project()}"
    digest = hashlib.blake2b(watched.encode(), digest_size=8).hexdigest()
    return Path(folder, f"cacheops_lite-{os.geteuid()}-{digest}.lock")


def _has_threads() -> bool:
    """Return whether a thread may block in the kernel, and runs while the application does nothing."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    ):
        # It would stop all greenlets.
        return False
    uwsgi = sys.modules.get("uwsgi")
    options = {str(name) for name in getattr(uwsgi, "opt", ())}
    return uwsgi is None or bool(options & {"enable-threads", "threads"})


@on_change
def _forget_path(setting: str) -> None:
    lock_path.cache_clear()


@after_fork_in_child
def _reset_in_child() -> None:
    """Close the lock, which the parent keeps: it would last as long as any process has it open."""
    global _current, _lock
    if _current is not None:
        with suppress(OSError):
            _current.close()
    _current, _lock = None, Lock()
