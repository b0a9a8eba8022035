"""The last step of a write: its invalidations, and whoever wants to hear of them."""

from __future__ import annotations

import logging

from . import local, outbox
from .changes import Work
from .failure import forgiving
from .signals import cache_invalidated

logger = logging.getLogger("cacheops_lite")


def deliver(work_by_prefix: dict[str, Work]) -> None:
    """Do the work now and tell receivers of ``cache_invalidated``.

    Raises errors of Redis unless reads degrade; the work is not lost then.
    """
    try:
        with forgiving():
            outbox.invalidate(work_by_prefix)
    finally:
        # Not before: a reader in between would remember what it still found in Redis.
        for work in work_by_prefix.values():
            local.forget(None if work.everything else work.all_tables())
        for work in work_by_prefix.values():
            for sender, obj_dict in work.notices:
                cache_invalidated.send_robust(sender=sender, obj_dict=obj_dict)


def deliver_surely(work_by_prefix: dict[str, Work]) -> None:
    """`deliver` what is written already, so that an error of Redis is logged, not raised."""
    try:
        deliver(work_by_prefix)
    except Exception:
        logger.exception("Can't invalidate what was written; it is tried again until it is done")
