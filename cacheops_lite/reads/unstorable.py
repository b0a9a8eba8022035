"""Remember the queries whose results can't or should not be stored, so that they bypass the cache for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable

from ..conf import settings
from ..observe import Bypass, Reason
from ..utils import LruMap, error_boundary

logger = logging.getLogger("cacheops_lite")

# By fingerprint: until when such queries bypass the cache (monotonic clock, seconds), and why.
_unstorable: LruMap[Hashable, tuple[float, Bypass]] = LruMap(500)
UNSTORABLE_SECONDS = 60.0
# Most processes never see such a result, and each read asks.
_has_unstorable = False


def note_unstorable(fingerprint: Hashable, label: str, error: Exception) -> None:
    """Let queries of `fingerprint` bypass the cache for `UNSTORABLE_SECONDS`; log why, once.

    `label` names the result in the message.  Raises `error` again if it is an interrupt.
    """
    error_boundary.reraise_interrupt(error)
    described = error_boundary.describe_error(error)
    _note(fingerprint, label, Bypass(Reason.UNSTORABLE, described), f"it does not serialize ({described})")


def is_too_large(fingerprint: Hashable, label: str, size: int) -> bool:
    """Return whether a result of `size` bytes exceeds ``CACHEOPS_MAX_RESULT_BYTES``; note and log it then."""
    limit = settings.CACHEOPS_MAX_RESULT_BYTES
    if not limit or size <= limit:
        return False
    detail = f"{size:,} bytes; CACHEOPS_MAX_RESULT_BYTES is {limit:,}"
    _note(fingerprint, label, Bypass(Reason.TOO_LARGE, detail), f"its result is too large ({detail})")
    return True


def _note(fingerprint: Hashable, label: str, bypass: Bypass, why: str) -> None:
    global _has_unstorable
    if fingerprint is not None:
        _has_unstorable = True
        _unstorable.put(fingerprint, (time.monotonic() + UNSTORABLE_SECONDS, bypass))
    if error_boundary.is_first_report((bypass.reason, fingerprint or label)):
        logger.warning("Can't cache %s: %s", label, why)


def bypass_of(fingerprint: Hashable) -> Bypass | None:
    """Return why queries of this fingerprint bypass the cache, None if their results can be stored."""
    if not _has_unstorable:
        return None
    found = _unstorable.get(fingerprint)
    return found[1] if found is not None and time.monotonic() < found[0] else None
