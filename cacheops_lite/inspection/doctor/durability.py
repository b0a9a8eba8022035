"""Persistence: what the server saves on disk.  A cache gains nothing by it, as no value is valid after a restart."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import Finding
from .session import Session

_IN_VAIN = "After a restart all results in it count as missing, because writes since then may have invalidated them."
_TURN_OFF = 'A cache needs nothing on disk: CONFIG SET save "" and CONFIG SET appendonly no; the same in redis.conf.'


def examine_persistence(session: Session) -> Iterator[Finding]:
    """Report snapshots and the append-only file."""
    info = session.info("persistence")
    rule = session.config_or_none("save")
    if info.get("aof_enabled") == "1":
        yield Finding("persistence", "info", "The append-only file is on.", _IN_VAIN, _TURN_OFF)
    elif rule is None:
        yield Finding(
            "persistence",
            "unknown",
            "Unknown: the server refuses CONFIG, so it is not told whether snapshots are saved.",
            _IN_VAIN,
            "Nothing to do for the cache.",
        )
    elif rule:
        yield Finding("persistence", "info", f"Snapshots are saved (save {rule}).", _IN_VAIN, _TURN_OFF)
    else:
        yield Finding("persistence", "ok", "Nothing is saved on disk: the cache is empty after a restart.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding(
            "persistence",
            "error",
            "The last snapshot could not be saved.",
            "With stop-writes-on-bgsave-error, which is the default, Redis refuses all writes (MISCONF).",
            'Free the disk, or turn snapshots off: CONFIG SET save "".',
        )
