"""Compare a value that is stored in Redis with what the database returns now."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ..query import Capture
from ..reads import Origin, uncached
from ..store import MISS, protocol
from .stored_values import origin_and_entry


class Verdict(Enum):
    """What a comparison showed."""

    SAME = "same"
    DIFFERENT = "different"
    INVALID = "no longer valid"
    NOT_COMPARABLE = "not comparable"


def verify(key: str) -> Verdict:
    """Compare the value of a key with the database.  Raises errors of Redis and of the database.

    A write that comes between invalidates the value before it commits, so a value that is still valid after the
    database was read must be the same.
    """
    found = origin_and_entry(key)
    is_same = None if found is None else found[1].is_same
    if found is None or is_same is None:
        return Verdict.NOT_COMPARABLE
    origin, entry, _ = found
    before = protocol.peek(key, entry.version_set)[0].payload
    if not isinstance(before, bytes):
        return Verdict.INVALID
    fresh = _read_database(origin)
    if fresh is MISS:
        return Verdict.NOT_COMPARABLE
    if is_same(entry.loads(before), fresh):
        return Verdict.SAME
    return Verdict.DIFFERENT if protocol.peek(key, entry.version_set)[0].payload == before else Verdict.INVALID


def _read_database(origin: Origin) -> Any:
    """Return the result of the read in the form in which it is stored, MISS if it can't be."""
    queryset: Any = uncached(origin.queryset)
    if origin.operation in ("count", "exists"):
        return getattr(queryset, origin.operation)()
    if origin.operation == "aggregate":
        return queryset.aggregate(**origin.arguments)
    if origin.operation == "get":
        queryset = queryset.filter(**origin.arguments)
    capture = Capture()
    capture.results(queryset)
    return MISS if capture.rows is None else capture.rows
