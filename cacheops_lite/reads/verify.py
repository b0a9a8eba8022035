"""Compare a value that is stored in Redis with what the database returns now."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ..conf import ALL_OPS
from ..observe import Bypass, Reason
from ..query import Capture
from ..store import MISS, execute, keys, protocol
from .cache_policy import CachePolicy, policy_of
from .cached_read import CacheEntry
from .explain import entry_or_bypass
from .origin import Origin, parse

UNCACHED = CachePolicy(frozenset(), 0, False, True, bypass_reason=Reason.NOCACHE)


class Verdict(Enum):
    """What a comparison showed."""

    SAME = "same"
    DIFFERENT = "different"
    INVALID = "no longer valid"
    NOT_COMPARABLE = "not comparable"


def origin_of(key: str) -> Origin | None:
    """Return which read the value of a key is the result of, None if that is not known.  Raises errors of Redis."""
    value = execute("GET", key)
    return parse(protocol.stored_origin(value), key.rpartition(f"{keys.NAMESPACE}v:")[0]) if value else None


def entry_of_origin(origin: Origin) -> tuple[CacheEntry, list[str]] | None:
    """Return the cache entry of the read that `origin` tells, and its dependencies in words; None if it has none."""
    queryset: Any = origin.queryset
    if queryset is None:
        return None
    policy = policy_of(queryset)
    if policy is None:
        return None
    # The value may come from cache(), which the profile does not show.
    queryset = queryset.all()
    queryset._cacheops_policy = CachePolicy(ALL_OPS, policy.timeout, False, policy.db_agnostic, is_explicit=True)
    found = entry_or_bypass(queryset, origin.operation, (), dict(origin.arguments))
    return None if isinstance(found, Bypass) else found


def verify(key: str) -> Verdict:
    """Compare the value of a key with the database.  Raises errors of Redis and of the database.

    A write that comes between invalidates the value before it commits, so a value that is still valid after the
    database was read must be the same.
    """
    origin = origin_of(key)
    found = None if origin is None else entry_of_origin(origin)
    if origin is None or found is None or found[0].key != key or found[0].is_same is None:
        return Verdict.NOT_COMPARABLE
    entry = found[0]
    before = protocol.peek(key, entry.version_set)[0].payload
    if not isinstance(before, bytes):
        return Verdict.INVALID
    fresh = _read_database(origin)
    if fresh is MISS:
        return Verdict.NOT_COMPARABLE
    if entry.is_same is not None and entry.is_same(entry.loads(before), fresh):
        return Verdict.SAME
    return Verdict.DIFFERENT if protocol.peek(key, entry.version_set)[0].payload == before else Verdict.INVALID


def _read_database(origin: Origin) -> Any:
    """Return the result of the read in the form in which it is stored, MISS if it can't be."""
    queryset: Any = origin.queryset
    queryset = queryset.all()
    queryset._cacheops_policy = UNCACHED
    if origin.operation in ("count", "exists"):
        return getattr(queryset, origin.operation)()
    if origin.operation == "aggregate":
        return queryset.aggregate(**origin.arguments)
    if origin.operation == "get":
        queryset = queryset.filter(**origin.arguments)
    capture = Capture()
    capture.results(queryset)
    return MISS if capture.rows is None else capture.rows
