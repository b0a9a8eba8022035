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
from functools import partial
from typing import Any

from ..conf import settings
from ..schema import RowsByDependency
from ..utils import LruMap
from . import keys, shape_limit
from .client import current_epoch, execute, reset_connections, run_script
from .epoch_calls import call_in_epoch
from .invalidator import deliver_overdue, is_overdue
from .server_epoch import EpochChanged
from .signatures import SIGNATURE_LENGTH, is_signed, report_invalid, sign
from .version_set import VersionSet

DIGEST_LENGTH = 16
# A stored value begins with the digest of its versions and its signature.
SEAL_LENGTH = DIGEST_LENGTH + SIGNATURE_LENGTH
# Of each of the two decimal numbers before a header.
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
    as far as the commands of this lookup show it, and `is_unsigned` that one is stored whose signature is not valid.
    `compute_seconds` is how long the value took to compute, and
    `origin` what it was read by (see `reads.origin`).
    """

    key: str
    version_set: VersionSet
    payload: bytes | _Miss
    versions: list[bytes] | None
    is_outdated: bool = False
    is_unsigned: bool = False
    compute_seconds: float = 0.0
    origin: bytes = b""


def read(key: str, version_set: VersionSet, timeout: int = 0) -> Lookup:
    """Read the value of `key` and its versions in one round trip.

    With a `timeout` in seconds, missing versions are created in the same round trip if the value is unlikely to be
    cached; they live at least that long.
    """
    while True:
        deliver_overdue()
        try:
            # Not by `call_in_epoch`, which costs a hit two more calls.
            lookup = _read(key, version_set, timeout, current_epoch())
        except EpochChanged:
            lookup = call_in_epoch(partial(_read, key, version_set, timeout))
        # While this waited for the reply, it may have read that an invalidation sent earlier on the connection failed.
        if not is_overdue():
            return lookup


def _read(key: str, version_set: VersionSet, timeout: int, epoch: bytes) -> Lookup:
    if shape_limit.is_met and shape_limit.is_met_by(version_set):
        version_set = version_set.coarsened
    if timeout and not _probably_cached.get(key):
        return _run_read(key, version_set, timeout, epoch)
    if version_set.coarse:
        return _run_read(key, version_set, 0, epoch)
    reply = execute("MGET", key, *version_set.version_keys, epoch=epoch)
    value, *found = checked_reply(reply, 1 + len(version_set.version_keys))
    version_set.forget_other_epochs(found, epoch)
    if not version_set.are_current(found):
        return Lookup(key, version_set, MISS, None, value is not None)
    if value is None:
        return Lookup(key, version_set, MISS, found)
    return _checked(
        Lookup(key, version_set, MISS, found), value[:SEAL_LENGTH], b"", memoryview(value)[SEAL_LENGTH:], found
    )


def _checked(lookup: Lookup, seal: bytes, names: bytes, body: memoryview, versions: Sequence[bytes]) -> Lookup:
    """Add to `lookup` what it found: a value with this seal, if that is right for the versions that it should carry.

    `names` are those of its row-level dependencies.
    """
    digest = seal[:DIGEST_LENGTH]
    if not is_signed(seal[DIGEST_LENGTH:], lookup.key, digest + names, body):
        report_invalid(lookup.key)
        lookup.is_unsigned = True
    elif digest != _digest(lookup.key, versions):
        lookup.is_outdated = True
    else:
        microseconds, length = _ORIGIN_HEADER.unpack_from(body)
        start = _ORIGIN_HEADER.size + SIGNATURE_LENGTH if length else _ORIGIN_HEADER.size
        lookup.compute_seconds = microseconds / 1e6
        lookup.origin, lookup.payload = bytes(body[start : start + length]), bytes(body[start + length :])
    return lookup


def create_versions(lookup: Lookup, timeout: int) -> None:
    """Create the missing versions of `lookup`, unless a table is fenced.  Call it before the database is read."""
    if lookup.versions is None:
        found = call_in_epoch(partial(_run_read, lookup.key, lookup.version_set, timeout))
        lookup.versions, lookup.version_set = found.versions, found.version_set


def _run_read(key: str, version_set: VersionSet, timeout: int, epoch: bytes) -> Lookup:
    """Read by script; with a timeout, create the missing versions."""
    args: list[Any] = [len(version_set.tables), len(version_set.dependencies), int(bool(version_set.coarse))]
    creation_keys: list[str] = []
    if timeout:
        args += [keys.fresh_token() + epoch.decode(), timeout, version_set.registration]
        creation_keys = version_set.index_and_fence_keys
        version_set.forget_outdated_indexes()
    reply = run_script("read", [key, *version_set.version_keys, *creation_keys], args, epoch)
    seal, names, body, *found = checked_reply(reply, 3 + len(version_set.version_keys))
    if seal is None and names == INDEX_FULL:
        shape_limit.note(version_set)
        return _run_read(key, version_set.coarsened, timeout, epoch)
    version_set.forget_other_epochs(found, epoch)
    lookup = Lookup(key, version_set, MISS, found if version_set.are_current(found) else None)
    if seal is None:
        return lookup
    _checked(lookup, seal, names or b"", memoryview(body or b""), [found[i] or b"" for i in version_set.carried])
    if lookup.payload is not MISS:
        _probably_cached.put(key, True)
    return lookup


def peek(key: str, version_set: VersionSet) -> tuple[Lookup, int | None]:
    """Look a value up without creating anything; return the lookup and the seconds that the value has to live.

    None instead of seconds if no value is stored.
    """
    lookup = call_in_epoch(partial(_read, key, version_set, 0))
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
    body = origin_header(key, lookup) + payload
    names, groups = b"", []
    if version_set.coarse:
        groups = version_set.row_level_groups(rows_by_dependency or {})
        names = json.dumps([{name: group[name] for name in SIGNED_NAMES} for group in groups]).encode()
    digest = _digest(key, [lookup.versions[i] for i in version_set.carried])
    args = [digest + sign(key, digest + names, body), body, timeout, len(lookup.versions), *lookup.versions]
    if version_set.coarse:
        further = [{name: group[name] for name in group.keys() - SIGNED_NAMES} for group in groups]
        args += [keys.fresh_token(), names, json.dumps(further)]
    _probably_cached.put(lookup.key, True)
    return bool(run("fill", [key, *version_set.version_keys, *conjunction_sets], args))


# What the signature of a value covers of its row-level dependencies.
SIGNED_NAMES = frozenset({"owner", "version", "tail", "values"})
# Before the payload of a value: the microseconds that it took to compute, and the length of the origin, which follows.
_ORIGIN_HEADER = struct.Struct(">IH")
_ORIGIN_HEAD = b"origin"
MAX_MICROSECONDS, MAX_ORIGIN_LENGTH = 2**32 - 1, 2**16 - 1


def origin_header(key: str, lookup: Lookup) -> bytes:
    """Return what stands before the payload of a value: how long it took to compute, and its origin if it is short.

    The origin has a signature of its own, so that it can be read without the payload.
    """
    microseconds = min(round(lookup.compute_seconds * 1e6), MAX_MICROSECONDS)
    origin = lookup.origin if len(lookup.origin) <= MAX_ORIGIN_LENGTH else b""
    signature = sign(key, _ORIGIN_HEAD, origin) if origin else b""
    return _ORIGIN_HEADER.pack(microseconds, len(origin)) + signature + origin


def stored_origin(key: str, value: bytes) -> bytes:
    """Return the origin that a stored value has, whether it is valid or not; empty if it has none that is signed.

    The beginning of the value is enough.
    """
    start = SEAL_LENGTH
    # With row-level dependencies a header comes first, see fill.lua.
    sizes = [value[at : at + SIZE_LENGTH] for at in (start, start + SIZE_LENGTH)]
    if all(len(size) == SIZE_LENGTH and size.isdigit() for size in sizes):
        start += sum(SIZE_LENGTH + int(size) for size in sizes)
    try:
        _, length = _ORIGIN_HEADER.unpack_from(value, start)
    except struct.error:
        # It is truncated.
        return b""
    start += _ORIGIN_HEADER.size
    end = start + SIGNATURE_LENGTH
    signature, origin = value[start:end], value[end : end + length]
    return origin if origin and is_signed(signature, key, _ORIGIN_HEAD, origin) else b""


# What read.lua replies instead of names if a dependency index has no room for a new shape.
INDEX_FULL = b"full"

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
