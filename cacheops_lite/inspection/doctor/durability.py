"""What the server keeps on its disk, and what a restart brings back."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import Finding
from .session import Session

_BACK_TO_LIFE = "Results that were invalidated in between are valid again then, and stale until their timeout."
_TURN_OFF = (
    'A cache needs nothing on disk: CONFIG SET save "" and CONFIG SET appendonly no; the same in redis.conf. Otherwise '
    "run 'manage.py invalidate all' after each crash, restore or failover, before the application reads."
)


def examine_persistence(session: Session) -> Iterator[Finding]:
    """Report snapshots and the append-only file."""
    info = session.info("persistence")
    has_log = info.get("aof_enabled") == "1"
    rule, fsync = session.config_or_none("save"), session.config_or_none("appendfsync")
    if has_log and fsync == "always":
        yield Finding("persistence", "ok", "The append-only file is on, with appendfsync always.")
    elif has_log:
        yield Finding(
            "persistence",
            "info",
            f"The append-only file is on (appendfsync {fsync or 'unknown'}).",
            f"If the machine crashes, the last second of it may be lost. {_BACK_TO_LIFE}",
            _TURN_OFF,
        )
    elif rule is None:
        yield Finding(
            "persistence",
            "unknown",
            "Unknown: the server refuses CONFIG, so it is not told whether snapshots are saved.",
            f"After a crash or a restore, an old snapshot may be loaded. {_BACK_TO_LIFE}",
            "Ask the provider. Run 'manage.py invalidate all' after a crash, restore or failover.",
        )
    elif rule:
        yield Finding(
            "persistence",
            "warning",
            f"Snapshots are saved (save {rule}), and the append-only file is off.",
            f"After a crash or a restore, the last snapshot is loaded. {_BACK_TO_LIFE}",
            _TURN_OFF,
        )
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
