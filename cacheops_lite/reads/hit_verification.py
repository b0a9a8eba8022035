"""Compare a share of the hits with the database, so that a team can measure how consistent its cache is."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError

from ..conf import settings
from ..observe import Counted, counters
from ..store import MISS, call_or_default, protocol
from ..utils import error_boundary
from ..writes import unit_of_work_for
from .cache_entry import CacheEntry

logger = logging.getLogger("cacheops_lite")


def verify_some(
    entry: CacheEntry, stored_payload: Callable[[], Any], value: Any, compute: Callable[[], tuple[Any, Any]]
) -> None:
    """Compare a share of all hits, ``CACHEOPS_VERIFY``, with the database; count and log differences.

    `value` is the hit, `stored_payload` returns its payload in Redis, and the second result of `compute` is the value
    that the database has now.  In a transaction, which may see older data, nothing is compared.  An error of the
    comparison is logged, and the hit is used.
    """
    try:
        _verify_some(entry, stored_payload, value, compute)
    except DatabaseError as error:
        logger.warning("A hit of %s can't be compared with the database: %s", entry.label, error)
    except Exception as error:
        error_boundary.log_failure(f"A hit of {entry.label} can't be compared with the database", error)


def _verify_some(
    entry: CacheEntry, stored_payload: Callable[[], Any], value: Any, compute: Callable[[], tuple[Any, Any]]
) -> None:
    if entry.is_same is None or random.random() >= settings.CACHEOPS_VERIFY:
        return
    if any(unit_of_work_for(using).in_transaction for using in entry.databases):
        return
    found = stored_payload()
    _, fresh = compute()
    label = counters.label_of(entry.sender)
    counters.add(Counted(label, entry.operation, "verified"))
    if fresh is MISS or entry.is_same(value, fresh):
        return
    # A write that came between invalidates the value before it commits.
    again = call_or_default(lambda: protocol.peek(entry.key, entry.version_set)[0].payload, None)
    if again is not None and again == found:
        counters.add(Counted(label, entry.operation, "differing"))
        logger.error("The cached %s() of %s differs from the database (key %s)", entry.operation, label, entry.key)
