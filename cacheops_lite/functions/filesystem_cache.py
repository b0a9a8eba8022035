"""The simple cache in files, for values that are too large or too many for memory.

Each value has a file of its own, ``{directory}/ab/cdef....cacheops``.  A writer creates a temporary file and renames
it, so that readers see a complete file or none.  A file's modification time is the time when it expires.  Only data
that is signed with SECRET_KEY is unpickled.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from django.conf import settings as django_settings

from ..store import SAME_TIMEOUT
from .backend_api import MAX_TIMEOUT_SECONDS, checked_timeout, timeout_of_settings
from .base_cache import BaseCache

try:
    import fcntl
except ImportError:  # On Windows incr() is not atomic.
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileCache", "file_cache"]

logger = logging.getLogger("cacheops_lite")

Path: TypeAlias = "str | os.PathLike[str]"
DEFAULT_DIRECTORY = "/tmp/cacheops_file_cache"  # noqa: S108
DEFAULT_TIMEOUT_SECONDS = 60 * 60 * 24 * 30
# A larger file is not even read.
MAX_BYTES = 64 * 1024 * 1024
# Age past its expiry at which a temporary file counts as left behind by a process that exited.
ABANDONED_SECONDS = 60 * 60

MAGIC = b"col"
OWN_DIRECTORY = re.compile(r"[0-9a-f]{2}")
OWN_FILE = re.compile(r"[0-9a-f]{30}\.cacheops")
OWN_TEMPORARY = re.compile(r"[0-9a-f]{30}\.cacheops\..+\.tmp")
# Links must not be followed out of the directory, and a pipe must not block a reader.
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
READ_FLAGS = getattr(os, "O_NONBLOCK", 0) | NOFOLLOW


class FileCache(BaseCache):
    """A cache in the directory `path`, by default ``FILE_CACHE_DIR``.

    `timeout` in seconds replaces a timeout of None; its default is ``FILE_CACHE_TIMEOUT``, else
    ``CACHEOPS_SIMPLE_TIMEOUT``, else 30 days.  A value that is larger than `max_bytes`, or that can't be written, is
    logged and not stored.
    """

    def __init__(self, path: Path | None = None, timeout: float | None = None, max_bytes: int = MAX_BYTES):
        self._path = path
        self._timeout = checked_timeout(timeout, "FileCache()")
        self.max_bytes = max_bytes

    # Other users of this machine may be able to write to the directory.
    always_signs = True

    @property
    def directory(self) -> str:
        return os.fspath(self._path or str(getattr(django_settings, "FILE_CACHE_DIR", DEFAULT_DIRECTORY)))

    def clear(self) -> None:
        for path in self._cache_files(OWN_FILE):
            with _directory_lock(path):
                if _has_own_header(path):
                    _unlink(path)

    def clean(self) -> int:
        """Remove expired files and abandoned temporary files.  Returns how many."""
        removed = 0
        for path in self._cache_files(OWN_FILE):
            # The lock keeps another process from renewing the file between the check and the removal.
            with _directory_lock(path):
                removed += _is_expired(path) and _has_own_header(path) and _unlink(path)
        for path in self._cache_files(OWN_TEMPORARY):
            removed += _expiry_of(path) + ABANDONED_SECONDS <= time.time() and _unlink(path)
        return removed

    def _cache_files(self, pattern: re.Pattern[str]) -> Iterator[str]:
        with suppress(FileNotFoundError), os.scandir(self.directory) as directories:
            for directory in directories:
                if OWN_DIRECTORY.fullmatch(directory.name) and directory.is_dir(follow_symlinks=False):
                    with os.scandir(directory) as files:
                        ours = [file for file in files if pattern.fullmatch(file.name)]
                    yield from (file.path for file in ours if file.is_file(follow_symlinks=False))

    def _path_of(self, name: str) -> str:
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return os.path.join(self.directory, digest[:2], f"{digest[2:]}.cacheops")

    def _new_expiry(self, timeout: float | None) -> float:
        if timeout is None:
            timeout = self._timeout
        if timeout is None:
            default = timeout_of_settings() or DEFAULT_TIMEOUT_SECONDS
            timeout = getattr(django_settings, "FILE_CACHE_TIMEOUT", default)
            timeout = checked_timeout(timeout, "The setting FILE_CACHE_TIMEOUT")
        return time.time() + (MAX_TIMEOUT_SECONDS if timeout is None else timeout)

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        return [self._read_file(self._path_of(name)) for name in names]

    def _read_file(self, path: str) -> bytes | None:
        try:
            with open(path, "rb", opener=_opener) as file:
                status = os.fstat(file.fileno())
                if status.st_mtime <= time.time():
                    return None
                if not stat.S_ISREG(status.st_mode) or status.st_size > self.max_bytes:
                    logger.warning("Ignored %s: it is not a regular file, or it is too large", path)
                    return None
                return file.read(self.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("Can't read from the file cache: %s", error)
            return None

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        path = self._path_of(name)
        temporary = self._try_write_temporary(path, data, self._new_expiry(timeout))
        if temporary is None:
            return False
        with _directory_lock(path):
            if new and not _is_expired(path):
                _unlink(temporary)
                return False
            return _rename(temporary, path)

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        path = self._path_of(name)
        with _directory_lock(path):
            expiry = _expiry_of(path) if timeout is SAME_TIMEOUT else self._new_expiry(timeout)
            data = replace(self._read_file(path))
            temporary = None if data is None else self._try_write_temporary(path, data, expiry)
            if temporary is not None:
                _rename(temporary, path)

    def _remove(self, names: Sequence[str]) -> int:
        removed = 0
        for path in map(self._path_of, names):
            with _directory_lock(path):
                removed += (not _is_expired(path)) & _unlink(path)
        return removed

    def _try_write_temporary(self, path: str, data: bytes, expiry: float) -> str | None:
        try:
            if len(data) > self.max_bytes:
                raise OSError(f"a value of {len(data)} bytes is more than the {self.max_bytes} allowed")
            return _write_temporary(path, data, expiry)
        except OSError as error:
            _handle_write_error(path, error)
            return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | READ_FLAGS)


def _write_temporary(path: str, data: bytes, expiry: float) -> str:
    directory, name = os.path.split(path)
    # One call for each level: makedirs() applies the mode only to the last one.
    for needed in (os.path.dirname(directory), directory):
        os.makedirs(needed, mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=f"{name}.", suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.utime(temporary, (expiry, expiry))
    except BaseException:
        _unlink(temporary)
        raise
    return temporary


def _rename(temporary: str, path: str) -> bool:
    try:
        os.replace(temporary, path)
    except OSError as error:
        _unlink(temporary)
        _handle_write_error(path, error)
        return False
    return True


def _handle_write_error(path: str, error: OSError) -> None:
    logger.warning("Can't write to the file cache: %s", error)
    # The old value must go: it would be stale.
    _unlink(path)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _expiry_of(path: str) -> float:
    """Return when a file expires, in seconds since the epoch; 0 for a file that does not exist."""
    try:
        return os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return 0


def _is_expired(path: str) -> bool:
    return _expiry_of(path) <= time.time()


def _has_own_header(path: str) -> bool:
    try:
        with open(path, "rb", opener=_opener) as file:
            # A crash of the system may leave a truncated or empty file.
            return MAGIC.startswith(file.read(len(MAGIC)))
    except OSError:
        return False


@contextmanager
def _directory_lock(path: str) -> Iterator[None]:
    """Lock the directory of `path` against changes by other processes and threads.  Readers do not wait.

    The operating system releases the lock when the process exits.
    """
    handle = None
    with suppress(OSError):
        handle = os.open(os.path.join(os.path.dirname(path), ".lock"), os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o600)
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


file_cache = FileCache()
