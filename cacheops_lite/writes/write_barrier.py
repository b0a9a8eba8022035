"""Deliver the invalidations of a write: the fence before its commit, the invalidation and its signals after it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from ..conf import settings
from ..observe import Invalidation, invalidations
from ..store import (
    STORE_ERRORS,
    Fence,
    WriteSet,
    explain_error,
    invalidator,
    met_by,
    near,
    outages,
)
from .invalidation_error import refused_commit


def invalidate_and_fence(write_sets: dict[str, WriteSet], fence: Fence) -> None:
    """Invalidate and fence what is about to be committed, so that no reader caches the state before it.

    `write_sets` are by key prefix.  `fence` notes what was sent.  With ``CACHEOPS_STRICT`` it raises InvalidationError
    if Redis does not confirm it.  Otherwise the commit does not fail when Redis does: the reason is logged, and
    `deliver` sends the invalidations once more and reports errors.
    """
    try:
        invalidator.invalidate_and_fence(write_sets, fence)
    except STORE_ERRORS as error:
        if settings.CACHEOPS_STRICT:
            explain_error(error)
            raise refused_commit(write_sets, error) from error
        message = "Can't invalidate and fence what is about to be committed; it is invalidated after the commit"
        outages.report_failure(logging.ERROR, message, error)
        invalidator.note_unfenced(write_sets, fence)
        # It is unknown whether Redis has invalidated anything.
        fence.lease_wait.add_longest()
        fence.lease_wait.wait()


def deliver(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Send the invalidations now, release the fence and publish what was invalidated.

    Raises errors of Redis.  The invalidations are then not lost: they are retried.
    """
    causes = [cause for write_set in write_sets.values() for cause in write_set.causes]
    dropped = None if not causes else set() if fence is None else fence.dropped
    started = time.perf_counter()
    try:
        invalidator.invalidate(write_sets, fence, dropped)
    finally:
        # Even after an error, this process must see its own writes.
        near.forget_lease()
        for cause in causes:
            cause.seconds = time.perf_counter() - started
            _publish(cause, write_sets, dropped or set())


def _publish(cause: Invalidation, prefixes: Iterable[str], dropped: set[str]) -> None:
    cause.dependencies = met_by(prefixes, cause.changes, cause.tables, dropped) if dropped else []
    invalidations.publish(cause)


def deliver_logging_errors(write_sets: dict[str, WriteSet], fence: Fence | None = None) -> None:
    """Call `deliver` and log errors of Redis instead of raising them: the database has the write already."""
    try:
        deliver(write_sets, fence)
    except STORE_ERRORS as error:
        outages.report_failure(
            logging.ERROR, "Can't invalidate what was written; it is retried until Redis accepts it", error
        )
