"""Keep undelivered invalidations in a file as well as in memory, so that they survive the process.

If a process exits while Redis is unreachable, the invalidations in its memory are lost.  Therefore each process appends
what it *owes*, that is, what it has not delivered, to a file of its own (`SpoolFile`).  The file stays locked while the
process lives, and is removed once all is delivered.  Another process of the same user on the same host takes over files
that are not locked any more: when it reads or writes, and while it is idle (`spool_watch`).

An error here never breaks a write: it is logged once, and the invalidations are kept in memory only.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock

from ..conf import on_change
from ..utils import after_fork_in_child, error_boundary
from . import spool_directory, spool_records
from .namespaces import all_prefixes
from .spool_directory import SpoolFile
from .write_set import WriteSet

logger = logging.getLogger("cacheops_lite")

# How often a process looks for the files of dead processes.
LOOK_SECONDS = 0.25
# A file with more says "everything" instead.
MAX_RECORDS = 1000
MAX_FILE_BYTES = 4 * 2**20

# The time of the next look, on the monotonic clock.  Each read and each write compares it.
next_look = 0.0


@dataclass(slots=True)
class Debts:
    """What dead processes owe, by key prefix, and their files, which stay locked until it is delivered."""

    write_sets: dict[str, WriteSet] = field(default_factory=dict)
    files: list[SpoolFile] = field(default_factory=list)
    records: int = 0


class _OwnFile:
    """The file of this process, made when it first owes something."""

    def __init__(self) -> None:
        self.file: SpoolFile | None = None
        self.records = self.size = 0
        self.prefixes: set[str] = set()
        # The prefixes under which the file says to invalidate everything.
        self.complete: set[str] = set()

    def append(self, prefix: str, write_set: WriteSet) -> None:
        if prefix in self.complete:
            return
        if self.file is None:
            self.file = spool_directory.create_file()
        self.prefixes.add(prefix)
        if self.records < MAX_RECORDS and self.size < MAX_FILE_BYTES:
            self._append_record(prefix, write_set)
            return
        for each in self.prefixes - self.complete:
            self._append_record(each, WriteSet(everything=True))
            self.complete.add(each)

    def _append_record(self, prefix: str, write_set: WriteSet) -> None:
        assert self.file is not None
        line = spool_records.encode(prefix, write_set)
        self.records += 1
        self.size += len(line)
        self.file.append(line)


_own = _OwnFile()
_taken_over: list[SpoolFile] = []
# How many transactions have noted what they change before a commit that has not ended yet.
_noted = 0
_lock = RLock()


def append(write_sets: Mapping[str, WriteSet]) -> None:
    """Record that this process owes these write sets.  Raises nothing."""
    if not spool_directory.is_used():
        return
    with _lock:
        try:
            for prefix, write_set in write_sets.items():
                if write_set:
                    _own.append(prefix, write_set)
        except OSError as error:
            _report(error)


def note(write_sets: Mapping[str, WriteSet]) -> None:
    """Record what is about to be committed without a fence: the process may end between commit and delivery.

    Each call is followed by one of `drop_note`, when it is owed, delivered or rolled back.
    """
    global _noted
    append(write_sets)
    with _lock:
        _noted += 1


def drop_note() -> None:
    """End what `note` began."""
    global _noted
    with _lock:
        _noted = max(_noted - 1, 0)


def forget() -> None:
    """Remove the files, after all that they say has been delivered.  Raises nothing."""
    global _own
    if not _taken_over and (_own.file is None or _noted):
        return
    with _lock:
        files, _taken_over[:] = [*_taken_over], []
        if _own.file is not None and not _noted:
            files.append(_own.file)
            _own = _OwnFile()
        for file in files:
            try:
                file.remove()
            except OSError as error:
                _report(error)


def take_over() -> Debts:
    """Return what dead processes owe; look for it at most once in LOOK_SECONDS.

    Call `keep` with it before `forget` may be called.  A record that can't be read stands for everything.
    Raises ImproperlyConfigured if ``CACHEOPS_PREFIX`` is invalid.
    """
    global next_look
    next_look = time.monotonic() + LOOK_SECONDS if spool_directory.is_used() else math.inf
    debts = Debts()
    if math.isinf(next_look):
        return debts
    try:
        for file in spool_directory.abandoned_files(_report):
            _add_file(debts, file)
    except OSError as error:
        _report(error)
    except BaseException:
        for file in debts.files:
            file.close()
        raise
    return debts


def _add_file(debts: Debts, file: SpoolFile) -> None:
    """Add a locked file and what it says to `debts`; remove it if it says nothing."""
    try:
        if _add_records(debts, file):
            debts.files.append(file)
        else:
            file.remove()
    except OSError as error:
        # The file stays, and is tried again at the next look.
        file.close()
        _report(error)
    except BaseException:
        file.close()
        raise


def _add_records(debts: Debts, file: SpoolFile) -> int:
    """Add what a file says to `debts`; return how many records it has."""
    prefixes: set[str] = set()
    is_damaged = False
    lines = file.lines()
    debts.records += len(lines)
    for line in lines:
        try:
            prefix, write_set = spool_records.decode(line)
        except spool_records.DamagedRecord:
            is_damaged = True
            continue
        prefixes.add(prefix)
        debts.write_sets.setdefault(prefix, WriteSet()).add(write_set)
    if is_damaged:
        logger.error(
            "The file %s in %s, of a process that has ended, has records that are damaged or come from another release."
            "  All that is cached is invalidated.",
            file.name,
            spool_directory.directory(),
        )
        for prefix in prefixes.union(all_prefixes()):
            debts.write_sets[prefix] = WriteSet(everything=True)
    return len(lines)


def keep(debts: Debts) -> None:
    """Keep the files of `debts` until `forget` removes them: this process owes now what they say."""
    with _lock:
        _taken_over.extend(debts.files)


def _report(error: OSError) -> None:
    """Log once that files can't be used."""
    message = (
        "Invalidations that Redis does not take are kept in memory only, and lost if this process ends before Redis is "
        "back, as files in %s can't be used (%s).  Name a directory of this user in CACHEOPS_SPOOL_DIR, or None."
    )
    if error_boundary.is_first_report(("spool", spool_directory.directory())):
        logger.warning(message, spool_directory.directory(), error)


@dataclass(frozen=True, slots=True)
class Status:
    """`problem` says why the directory can't be used, if it can't; `files` and `records` are of dead processes."""

    is_used: bool
    directory: str
    problem: str = ""
    files: int = 0
    records: int = 0


def examine() -> Status:
    """Return what dead processes owe, without taking it over, and whether the directory can be used."""
    if not spool_directory.is_used():
        return Status(False, "")
    path = str(spool_directory.directory())
    files = records = 0
    try:
        spool_directory.create_file().remove()
        for file in spool_directory.abandoned_files(_report):
            try:
                found = len(file.lines())
            finally:
                file.close()
            files, records = files + bool(found), records + found
    except OSError as error:
        return Status(True, path, str(error) or type(error).__name__)
    return Status(True, path, "", files, records)


@on_change
def _look_again(setting: str) -> None:
    global next_look
    next_look = 0.0


@after_fork_in_child
def _leave_to_the_parent() -> None:
    """Close the files, which the parent keeps locked: a lock would last as long as any process has them open."""
    global _own, _lock, _noted, next_look
    for file in [*_taken_over, *filter(None, [_own.file])]:
        with suppress(OSError):
            file.close()
    _taken_over.clear()
    _own, _lock, _noted, next_look = _OwnFile(), RLock(), 0, 0.0
