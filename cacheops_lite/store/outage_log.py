"""Log failures of Redis without a flood: an outage fails every call, but one line tells it.

The first failure of an outage (`FailureKind.AWAY`) is logged, then at most one a minute with the number of those in
between, and finally that Redis is back.  Other failures are counted in the same way, each kind for itself.  All of this
is per process.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

from ..conf import on_change
from ..utils import LruMap, after_fork_in_child, error_boundary
from .failure_kinds import FailureKind, kind_of
from .redis_errors import explain_error
from .server_address import CLIENT_SETTINGS, describe_address

logger = logging.getLogger("cacheops_lite")

# A message of one kind is repeated at most once in this time.
REPEAT_SECONDS = 60.0
MAX_KINDS = 100


@dataclass(slots=True)
class _Reported:
    """What was logged of a kind: when first and last, on the monotonic clock, and how many failures were not logged."""

    since: float
    logged_at: float
    failures: int = 1
    suppressed: int = 0


class OutageLog:
    """The failures that this process has logged."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.forget()

    def forget(self) -> None:
        """Forget all failures: the next one of each kind is logged."""
        self._kinds: LruMap[Any, _Reported] = LruMap(MAX_KINDS)
        self._outage: _Reported | None = None
        # Whether Redis was away when it was last called, as far as this was reported.  Each call reads it.
        self.is_outage = False

    def report_failure(self, level: int, message: str, error: BaseException) -> None:
        """Log one line with `message` and `error`, unless a failure of this kind was logged within the last minute."""
        explain_error(error)
        with self.lock:
            suppressed = self._count(message, error)
        if suppressed is not None:
            more = f"  ({suppressed} more failures since the last message.)" if suppressed else ""
            logger.log(level, "%s: %s%s", message, error_boundary.describe_error(error), more)

    def _count(self, message: str, error: BaseException) -> int | None:
        """Count a failure; return how many were not logged before it, None if this one is not to be logged either."""
        now = time.monotonic()
        # In an outage all calls fail for one reason, whatever they were to do.
        kind, is_away = (message, type(error)), kind_of(error) is FailureKind.AWAY
        known = self._outage if is_away else self._kinds.get(kind)
        if known is None:
            known = _Reported(now, now)
            if is_away:
                self._outage, self.is_outage = known, True
            else:
                self._kinds.put(kind, known)
            return 0
        known.failures += 1
        if now < known.logged_at + REPEAT_SECONDS:
            known.suppressed += 1
            return None
        suppressed, known.suppressed, known.logged_at = known.suppressed, 0, now
        return suppressed

    def report_success(self) -> None:
        """Log that Redis is back, if it was away."""
        with self.lock:
            outage, self._outage, self.is_outage = self._outage, None, False
        if outage is not None:
            seconds = time.monotonic() - outage.since
            logger.info(
                "Redis at %s is back, after %.0f seconds and %d failures", describe_address(), seconds, outage.failures
            )


outages = OutageLog()


@on_change
def _forget_other_server(setting: str) -> None:
    # The setting may name another server now.
    if setting in CLIENT_SETTINGS:
        outages.forget()


@after_fork_in_child
def _renew_lock_in_child() -> None:
    outages.lock = Lock()
