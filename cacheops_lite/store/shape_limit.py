"""The version sets whose shapes found no room in a dependency index: their reads depend on more rows.

Each shape of a table costs each write of the table, so ``read.lua`` limits their number.
"""

from __future__ import annotations

import time

import redis

from ..conf import on_change
from ..utils import LruMap
from .server_address import CLIENT_SETTINGS
from .version_set import VersionSet

# The code of the error of ``fill.lua`` and ``create_row_versions.lua``, which add the shapes of single rows.
NO_ROOM = "NOROOM"
# A version set is tried again after this time: the index may have been replaced.
RETRY_SECONDS = 60.0

# By the identity of a version set, until when (monotonic clock) it depends on any row.
_until: LruMap[tuple[str, ...], float] = LruMap(5000)
# Whether there are any.  Each read asks.
is_met = False


def note(version_set: VersionSet) -> None:
    """Note that a shape of this version set found no room."""
    global is_met
    _until.put(_identity(version_set), time.monotonic() + RETRY_SECONDS)
    is_met = True


def is_noted(version_set: VersionSet, error: redis.RedisError) -> bool:
    """Return whether `error` says that a fill found no room for shapes of single rows; note that if it does."""
    found = isinstance(error, redis.ResponseError) and NO_ROOM in str(error)
    if found:
        note(version_set)
    return found


def is_met_by(version_set: VersionSet) -> bool:
    """Return whether that was noted of a version set with the same shapes less than a minute ago."""
    until = _until.get(_identity(version_set))
    return until is not None and time.monotonic() < until


def coarsened(version_set: VersionSet) -> VersionSet:
    """Return the version set that a read has instead of this one."""
    # What replaces dependencies on single rows may have no room either.  Any row has room always.
    for _ in range(2):
        if is_met_by(version_set):
            version_set = version_set.coarsened
    return version_set


def _identity(version_set: VersionSet) -> tuple[str, ...]:
    return (*version_set.prefixes, *version_set.tables, version_set.registration)


@on_change
def _forget_all(setting: str) -> None:
    global is_met
    # The settings may name another server.
    if setting in CLIENT_SETTINGS:
        _until.clear()
        is_met = False
