"""Deliver the invalidations of a write: the fence before its commit, the invalidation and its signals after it."""

from __future__ import annotations

import logging
from contextlib import suppress

from ..signals import cache_invalidated
from ..store import STORE_ERRORS, Fence, WriteSet, invalidator, local_cache, suppress_outage

logger = logging.getLogger("cacheops_lite")


def invalidate_and_fence(write_sets: dict[str, WriteSet], fence: Fence) -> None:
    """Invalidate and fence what is about to be committed, so that no reader caches the state before it.

    `write_sets` are by key prefix.  `fence` notes what was sent.  The commit does not fail when Redis does: `deliver`
    sends the invalidations once more and reports errors.
    """
    with suppress(*STORE_ERRORS):
        invalidator.invalidate_and_fence(write_sets, fence)


def deliver(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Send the invalidations now, release the fence and send the signal ``cache_invalidated``.

    Raises errors of Redis unless reads degrade.  The invalidations are then not lost: they are retried.
    """
    try:
        with suppress_outage():
            invalidator.invalidate(write_sets, fence)
    finally:
        # Only now: a reader in between would copy into its local cache what it still found in Redis.
        for write_set in write_sets.values():
            local_cache.invalidate(None if write_set.everything else write_set.all_tables())
        for write_set in write_sets.values():
            for sender, obj_dict in write_set.signals:
                cache_invalidated.send_robust(sender=sender, obj_dict=obj_dict)


def deliver_logging_errors(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Call `deliver` and log errors of Redis instead of raising them: the database has the write already."""
    try:
        deliver(write_sets, fence)
    except STORE_ERRORS:
        logger.exception("Can't invalidate what was written; it is retried until Redis accepts it")
