"""The directory of spools: one file for each process that owes invalidations, locked while that process lives.

Only the owner may read or write it.  All files are opened relative to the directory that was examined, and symbolic
links are not followed.  Errors are raised as OSError.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ..conf import on_change, settings
from .keys import fresh_token
from .server_address import describe_address

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUFFIX = ".owed"
# After this time, a further change of the directory certainly gets another modification time.
SETTLED_SECONDS = 1.0
# The state of the directory when it had no file of this project: one call then tells that it still has none.
_empty_state: tuple[Any, ...] | None = None
# How often another name is tried, where another process locks the new file first.
MAX_ATTEMPTS = 10
_OPEN = os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def is_used() -> bool:
    """Return whether the settings and the operating system let processes keep what they owe in files."""
    return fcntl is not None and settings.CACHEOPS_SPOOL_DIR is not None


@cache
def directory() -> Path:
    """Return the directory that the settings name, or that of this user for the Redis that they name."""
    configured = settings.CACHEOPS_SPOOL_DIR
    if configured:
        return Path(configured)
    return Path(tempfile.gettempdir(), f"cacheops_lite-{os.geteuid()}-{project()}")


@cache
def project() -> str:
    """Return what tells this project's files from those of others: a digest of where its keys are."""
    prefix = settings.CACHEOPS_PREFIX
    name = prefix if isinstance(prefix, str) else f"{_name(prefix, '__module__')}.{_name(prefix, '__qualname__')}"
    return hashlib.blake2b(f"{describe_address()}\n{name}".encode(), digest_size=8).hexdigest()


def _name(function: Any, attribute: str) -> str:
    return str(getattr(function, attribute, ""))


@on_change
def _forget(setting: str) -> None:
    directory.cache_clear()
    project.cache_clear()


class SpoolFile:
    """An open and locked file of records.  `name` is relative to the directory."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self.name = descriptor, name
        # The settings may change while it is open.
        self._directory = directory()
        self._is_line_open = False

    def append(self, line: bytes) -> None:
        """Append a line.  It outlives the process, not the machine: that needs no fsync()."""
        if self._is_line_open:
            # The line before was cut off, as on a full disk.  It must not spoil this one.
            line = b"\n" + line
        self._is_line_open = True
        if os.write(self._descriptor, line) == len(line):
            self._is_line_open = False
        else:
            raise OSError("a record could not be written completely")

    def lines(self) -> list[bytes]:
        """Return all lines, without their newlines; one that is cut off is among them."""
        with open(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            return [line for line in file.read().split(b"\n") if line]

    def remove(self) -> None:
        """Remove the file and release its lock."""
        try:
            with suppress(FileNotFoundError), opened_directory(self._directory) as folder:
                os.unlink(self.name, dir_fd=folder)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file without removing it.  Its lock is released, unless this process is a forked child."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """Yield a descriptor of the directory `path`.  Raises OSError if another user could read or write it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if found.st_mode & 0o077:
            raise PermissionError(f"other users may use {path}: its mode should be 0700")
        yield folder
    finally:
        os.close(folder)


def make_directory() -> None:
    """Make the directory for this user alone, unless it exists.  Raises OSError."""
    directory().mkdir(0o700, parents=True, exist_ok=True)


def create_file() -> SpoolFile:
    """Create and lock a file of this process.  Raises OSError."""
    make_directory()
    with opened_directory(directory()) as folder:
        for _ in range(MAX_ATTEMPTS):
            name = f"{project()}-{os.getpid()}-{fresh_token()}{SUFFIX}"
            descriptor = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
            # Before it is locked, another process may take it for that of a dead one, and remove it.
            if _is_locked_and_there(descriptor):
                return SpoolFile(descriptor, name)
            os.close(descriptor)
    raise OSError("other processes lock each new file first")


def abandoned_files(report: Callable[[OSError], None]) -> Iterator[SpoolFile]:
    """Yield this project's files whose processes are dead, locked.  The caller closes or removes them.

    A file that can't be opened is passed over, and its error to `report`.  Raises OSError.
    """
    global _empty_state
    try:
        state, has_settled = _state()
        if state == _empty_state:
            return
        is_empty = True
        with opened_directory(directory()) as folder:
            for name in sorted(os.listdir(folder)):
                if name.startswith(f"{project()}-") and name.endswith(SUFFIX):
                    file, is_empty = None, False
                    try:
                        file = _opened_if_abandoned(folder, name)
                    except FileNotFoundError:
                        # Another process has just removed it.
                        continue
                    except OSError as error:
                        report(error)
                    if file is not None:
                        yield file
        if is_empty and has_settled:
            _empty_state = state
    except FileNotFoundError:
        # No process has owed anything.
        return


def _state() -> tuple[tuple[Any, ...], bool]:
    """Return what changes whenever a file of the directory comes, and whether the next change would change it."""
    found = os.stat(directory())
    # File systems count time in ticks of some milliseconds.
    has_settled = found.st_ctime + SETTLED_SECONDS < time.time()
    return (directory(), project(), found.st_dev, found.st_ino, found.st_ctime_ns), has_settled


def _opened_if_abandoned(folder: int, name: str) -> SpoolFile | None:
    descriptor = os.open(name, _OPEN, dir_fd=folder)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and _is_locked_and_there(descriptor):
        return SpoolFile(descriptor, name)
    os.close(descriptor)
    return None


def _is_locked_and_there(descriptor: int) -> bool:
    """Lock a file and return True, unless another process has it locked or has removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
