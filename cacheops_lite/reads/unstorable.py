"""Remember the queries whose results can't be stored, so that they bypass the cache for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable

from ..utils import LruMap, error_boundary

logger = logging.getLogger("cacheops_lite")

# By fingerprint of queries whose results can't be stored: until when they bypass the cache (monotonic clock, seconds).
_unstorable: LruMap[Hashable, float] = LruMap(500)
UNSTORABLE_SECONDS = 60.0
# Most processes never see such a result, and each read asks.
_has_unstorable = False


def note_unstorable(fingerprint: Hashable, label: str, error: Exception) -> None:
    """Let queries of `fingerprint` bypass the cache for `UNSTORABLE_SECONDS`; log why, once.

    `label` names the result in the message.  Raises `error` again if it is an interrupt.
    """
    global _has_unstorable
    error_boundary.reraise_interrupt(error)
    if fingerprint is not None:
        _has_unstorable = True
        _unstorable.put(fingerprint, time.monotonic() + UNSTORABLE_SECONDS)
    if error_boundary.is_first_report(("unstorable", fingerprint or label)):
        logger.warning("Can't cache %s: it does not serialize (%s)", label, error_boundary.describe_error(error))


def is_unstorable(fingerprint: Hashable) -> bool:
    """Return whether a result of this fingerprint could not be stored in the last `UNSTORABLE_SECONDS`."""
    if not _has_unstorable:
        return False
    until = _unstorable.get(fingerprint)
    return until is not None and time.monotonic() < until
