"""The last step of a write: its invalidations, and whoever wants to hear of them."""

from __future__ import annotations

import logging
from contextlib import suppress

from ..signals import cache_invalidated
from ..store import STORE_ERRORS, Fence, WriteSet, invalidator, local_cache, suppress_outage

logger = logging.getLogger("cacheops_lite")


def invalidate_and_fence(write_sets: dict[str, WriteSet], fence: Fence) -> None:
    """Tell what is about to be committed, so that no reader stores the state before it; `fence` notes what was sent.

    The commit does not fail because Redis does: the flush tries it again, and says what went wrong.
    """
    with suppress(*STORE_ERRORS):
        invalidator.invalidate_and_fence(write_sets, fence)


def deliver(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Do the work now, lift the hold, and tell receivers of ``cache_invalidated``.

    Raises errors of Redis unless reads degrade; the work is not lost then.
    """
    try:
        with suppress_outage():
            invalidator.invalidate(write_sets, fence)
    finally:
        # Not before: a reader in between would remember what it still found in Redis.
        for write_set in write_sets.values():
            local_cache.invalidate(None if write_set.everything else write_set.all_tables())
        for write_set in write_sets.values():
            for sender, obj_dict in write_set.signals:
                cache_invalidated.send_robust(sender=sender, obj_dict=obj_dict)


def deliver_surely(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """`deliver` what is written already, so that an error of Redis is logged, not raised."""
    try:
        deliver(write_sets, fence)
    except STORE_ERRORS:
        logger.exception("Can't invalidate what was written; it is tried again until it is done")
