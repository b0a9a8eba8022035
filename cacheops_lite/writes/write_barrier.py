"""The last step of a write: its invalidations, and whoever wants to hear of them."""

from __future__ import annotations

import logging
from contextlib import suppress

from ..signals import cache_invalidated
from ..store import EXPECTED, Hold, Work, forgiving, invalidator, local_cache

logger = logging.getLogger("cacheops_lite")


def hold(work_by_prefix: dict[str, Work], held: Hold) -> None:
    """Tell what is about to be committed, so that no reader stores the state before it; `held` notes what was sent.

    The commit does not fail because Redis does: the flush tries it again, and says what went wrong.
    """
    with suppress(*EXPECTED):
        invalidator.hold(work_by_prefix, held)


def deliver(work_by_prefix: dict[str, Work], held: Hold | None = None) -> None:
    """Do the work now, lift the hold, and tell receivers of ``cache_invalidated``.

    Raises errors of Redis unless reads degrade; the work is not lost then.
    """
    try:
        with forgiving():
            invalidator.invalidate(work_by_prefix, held)
    finally:
        # Not before: a reader in between would remember what it still found in Redis.
        for work in work_by_prefix.values():
            local_cache.forget(None if work.everything else work.all_tables())
        for work in work_by_prefix.values():
            for sender, obj_dict in work.notices:
                cache_invalidated.send_robust(sender=sender, obj_dict=obj_dict)


def deliver_surely(work_by_prefix: dict[str, Work], held: Hold | None = None) -> None:
    """`deliver` what is written already, so that an error of Redis is logged, not raised."""
    try:
        deliver(work_by_prefix, held)
    except EXPECTED:
        logger.exception("Can't invalidate what was written; it is tried again until it is done")
