"""Invalidations that processes of this host still owe, and whether they can be kept in files."""

from __future__ import annotations

from collections.abc import Iterator

from ...store import spool
from .findings import Finding
from .session import Session

_LOST = "If a process ends while Redis is away, what it wrote and could not invalidate stays stale until the timeout."


def examine_spool(session: Session) -> Iterator[Finding]:
    """Report what dead processes owe, and whether the directory of CACHEOPS_SPOOL_DIR can be used."""
    status = spool.examine()
    if not status.is_used:
        yield Finding(
            "spool",
            "info",
            "Undelivered invalidations are kept in memory only: CACHEOPS_SPOOL_DIR is None, or there is no flock().",
            _LOST,
            "Leave CACHEOPS_SPOOL_DIR out of the settings, or name a directory of this user.",
        )
    elif status.problem:
        yield Finding(
            "spool",
            "warning",
            f"Undelivered invalidations can't be kept in {status.directory}: {status.problem}.",
            _LOST,
            "Name in CACHEOPS_SPOOL_DIR a directory that only this user can use, or one that does not exist yet.",
        )
    elif status.files:
        yield Finding(
            "spool",
            "warning",
            f"{status.files} processes of this host have ended and still owe {status.records} invalidations, kept in "
            f"{status.directory}.",
            "What they wrote may be stale until a process of this host and user uses the cache.",
            "Run 'manage.py invalidate' with any label on this host: it delivers them first.",
        )
    else:
        yield Finding("spool", "ok", f"No process that has ended owes an invalidation; {status.directory} can be used.")
