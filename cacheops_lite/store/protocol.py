"""The protocol that keeps cached values valid.

A cached value carries the versions that it was built under, and is valid while all of them are unchanged.  A read takes
these steps, in this order: `read` (value and versions in one round trip), `create_versions` (the missing ones), the
database, `fill`.  The other side, the invalidation by writes, is in `invalidator`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..conf import settings
from ..schema import RowsByDependency
from ..utils import LruMap
from . import keys
from .client import execute, reset_connections, run_script
from .invalidator import deliver_overdue, is_overdue
from .version_set import VersionSet

DIGEST_LENGTH = 16
# Of the decimal number before a header.
SIZE_LENGTH = 8
# What TTL replies for a key that does not exist.
ABSENT = -2


class _Miss:
    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS = _Miss()


@dataclass(slots=True)
class Lookup:
    """What a read found: the payload of a valid value or MISS, and the versions to store a new value under.

    `versions` are None if some do not exist yet.  `is_outdated` tells that a value is stored that is no longer valid,
    as far as the commands of this lookup show it.  `compute_seconds` is how long the value took to compute, and
    `origin` what it was read by (see `reads.origin`).
    """

    key: str
    version_set: VersionSet
    payload: bytes | _Miss
    versions: list[bytes] | None
    is_outdated: bool = False
    compute_seconds: float = 0.0
    origin: bytes = b""


def read(key: str, version_set: VersionSet, timeout: int = 0) -> Lookup:
    """Read the value of `key` and its versions in one round trip.

    With a `timeout` in seconds, missing versions are created in the same round trip if the value is unlikely to be
    cached; they live at least that long.
    """
    while True:
        deliver_overdue()
        lookup = _read(key, version_set, timeout)
        # While this waited for the reply, it may have read that an invalidation sent earlier on the connection failed.
        if not is_overdue():
            return lookup


def _read(key: str, version_set: VersionSet, timeout: int) -> Lookup:
    if timeout and not _probably_cached.get(key):
        return _run_read(key, version_set, timeout)
    if version_set.coarse:
        return _run_read(key, version_set, 0)
    value, *found = checked_reply(execute("MGET", key, *version_set.version_keys), 1 + len(version_set.version_keys))
    if not version_set.are_current(found):
        return Lookup(key, version_set, MISS, None, value is not None)
    if value is None:
        return Lookup(key, version_set, MISS, found)
    if value[:DIGEST_LENGTH] == _digest(key, found):
        return _hit(key, version_set, value, DIGEST_LENGTH, found)
    return Lookup(key, version_set, MISS, found, True)


def _hit(key: str, version_set: VersionSet, value: bytes, start: int, versions: list[bytes] | None) -> Lookup:
    """Return the lookup that found `value`, whose digest is right and ends before position `start`."""
    try:
        microseconds, length = _ORIGIN_HEADER.unpack_from(value, start)
    except struct.error:
        # It is truncated.
        return Lookup(key, version_set, MISS, versions, True)
    start += _ORIGIN_HEADER.size
    end = start + length
    return Lookup(key, version_set, value[end:], versions, False, microseconds / 1e6, value[start:end])


def create_versions(lookup: Lookup, timeout: int) -> None:
    """Create the missing versions of `lookup`, unless a table is fenced.  Call it before the database is read."""
    if lookup.versions is None:
        lookup.versions = _run_read(lookup.key, lookup.version_set, timeout).versions


def _run_read(key: str, version_set: VersionSet, timeout: int) -> Lookup:
    """Read by script; with a timeout, create the missing versions."""
    args: list[Any] = [len(version_set.tables), len(version_set.dependencies), int(bool(version_set.coarse))]
    creation_keys: list[str] = []
    if timeout:
        args += [keys.fresh_token(), timeout, version_set.registration]
        creation_keys = version_set.index_and_fence_keys
        version_set.forget_outdated_indexes()
    reply = run_script("read", [key, *version_set.version_keys, *creation_keys], args)
    digest, value, *found = checked_reply(reply, 2 + len(version_set.version_keys))
    versions = found if version_set.are_current(found) else None
    if digest and digest == _digest(key, [found[i] or b"" for i in version_set.carried]):
        _probably_cached.put(key, True)
        return _hit(key, version_set, value, 0, versions)
    return Lookup(key, version_set, MISS, versions, bool(digest))


def peek(key: str, version_set: VersionSet) -> tuple[Lookup, int | None]:
    """Look a value up without creating anything; return the lookup and the seconds that the value has to live.

    None instead of seconds if no value is stored.
    """
    lookup = _run_read(key, version_set, 0) if version_set.coarse else _read(key, version_set, 0)
    seconds = int(execute("TTL", key))
    lookup.is_outdated = lookup.is_outdated or (seconds != ABSENT and lookup.payload is MISS)
    return lookup, None if seconds == ABSENT else seconds


def fill(
    lookup: Lookup,
    payload: bytes,
    timeout: int,
    key: str | None = None,
    rows_by_dependency: RowsByDependency | None = None,
    run: Callable[[str, Sequence[Any], Sequence[Any]], Any] = run_script,
) -> bool:
    """Store `payload` for `timeout` seconds under `key` (default: that of `lookup`), with what `lookup` says of it.

    `rows_by_dependency` are the row-level dependencies that replace the coarse ones of the version set.  With
    `send_script` as `run`, the command may still be on its way when this returns.  Return False if nothing is stored,
    because there are no versions or one of them has changed.
    """
    if not timeout or lookup.versions is None:
        return False
    version_set = lookup.version_set
    conjunction_sets = () if settings.CACHEOPS_INSIDEOUT else version_set.conjunction_set_keys
    key = key or lookup.key
    digest = _digest(key, [lookup.versions[i] for i in version_set.carried])
    args = [digest, origin_header(lookup) + payload, timeout, len(lookup.versions), *lookup.versions]
    if version_set.coarse:
        args += [keys.fresh_token(), json.dumps(version_set.row_level_groups(rows_by_dependency or {}))]
    _probably_cached.put(lookup.key, True)
    return bool(run("fill", [key, *version_set.version_keys, *conjunction_sets], args))


# Between digest and payload of a value: the microseconds that it took to compute, and the length of the origin, which
# follows.
_ORIGIN_HEADER = struct.Struct(">IH")
MAX_MICROSECONDS, MAX_ORIGIN_LENGTH = 2**32 - 1, 2**16 - 1


def origin_header(lookup: Lookup) -> bytes:
    """Return what stands before the payload of a value: how long it took to compute, and its origin if it is short."""
    microseconds = min(round(lookup.compute_seconds * 1e6), MAX_MICROSECONDS)
    origin = lookup.origin if len(lookup.origin) <= MAX_ORIGIN_LENGTH else b""
    return _ORIGIN_HEADER.pack(microseconds, len(origin)) + origin


def stored_origin(value: bytes) -> bytes:
    """Return the origin that a stored value has, whether it is valid or not; empty if it has none."""
    start = DIGEST_LENGTH
    try:
        # With row-level dependencies a header comes first, see fill.lua.
        size = value[start : start + SIZE_LENGTH]
        if len(size) == SIZE_LENGTH and size.isdigit():
            start += SIZE_LENGTH + int(size)
        _, length = _ORIGIN_HEADER.unpack_from(value, start)
    except struct.error:
        return b""
    start += _ORIGIN_HEADER.size
    return value[start : start + length]


# A guess whether a value will be found: it only decides between MGET and a script that also creates versions.
_probably_cached: LruMap[str, bool] = LruMap(4096)


def _digest(key: str, versions: Sequence[bytes]) -> bytes:
    # It proves that a value belongs to its key, because a reply may belong to another request.  All versions of a kind
    # have the same length, so joining them is unambiguous.
    return hashlib.blake2b(b"".join([*versions, key.encode()]), digest_size=DIGEST_LENGTH).digest()


def checked_reply(reply: Any, length: int) -> list[Any]:
    """Return `reply` if it is a list of `length` values or None, else a list of None: it belongs to another request."""
    if type(reply) is list and len(reply) == length and _TYPES_OF_VALUES.issuperset(map(type, reply)):
        return reply
    reset_connections()
    return [None] * length


_TYPES_OF_VALUES = frozenset({bytes, type(None)})
