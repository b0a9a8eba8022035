"""The protocol that keeps cached values valid.

A cached value carries the versions that it was built under, and is valid while all of them are unchanged.  A read takes
these steps, in this order: `read` (value and versions in one round trip), `create_versions` (the missing ones), the
database, `fill`.  Writes invalidate in `invalidator`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis
from redis.exceptions import TryAgainError

from ..schema import RowsByDependency
from . import keys, multi_slot, named_rows, shape_limit
from .client import current_epoch, execute, run_script, send_script
from .cluster_settings import keeps_conjunction_sets, uses_cluster
from .epoch_calls import call_in_epoch
from .failure_kinds import is_of_one_node
from .invalidator import deliver_overdue, is_overdue, owes
from .payload_compression import packed
from .replies import checked_reply
from .server_epoch import EpochChanged
from .stored_value import (
    INDEX_FULL,
    MISS,
    SEAL_LENGTH,
    SIGNED_NAMES,
    Lookup,
    checked,
    described_rows,
    make_seal,
    origin_header,
    probably_cached,
    row_version_keys,
)
from .version_set import VersionSet

# What TTL replies for a key that does not exist.
ABSENT = -2


def read(key: str, version_set: VersionSet, timeout: int = 0) -> Lookup:
    """Read the value of `key` and its versions in one round trip.

    With a `timeout` in seconds, missing versions are created in the same round trip if the value is unlikely to be
    cached; they live at least that long.
    """
    while True:
        try:
            deliver_overdue()
        except redis.RedisError as error:
            # What one node of a cluster does not take concerns only reads of its tables.
            if not is_of_one_node(error) or owes(version_set.tables):
                raise
        try:
            # Not by `call_in_epoch`, which costs a hit two more calls.
            lookup = _read_in_epoch(key, version_set, timeout, current_epoch(key))
        except EpochChanged:
            lookup = call_in_epoch(partial(_read_in_epoch, key, version_set, timeout), key)
        except TryAgainError:
            lookup = _missed_while_moving(key, version_set)
        # While this waited for the reply, it may have read that an invalidation sent earlier on the connection failed.
        if not is_overdue() or (uses_cluster() and not owes(version_set.tables)):
            return lookup


def _missed_while_moving(key: str, version_set: VersionSet) -> Lookup:
    """Return a miss whose result is not stored: the slot of a table is moving to another node of the cluster.

    Raises the error that is being handled if there is no cluster.
    """
    if not uses_cluster():
        raise
    return Lookup(key, version_set, MISS, None)


def _read_in_epoch(key: str, version_set: VersionSet, timeout: int, epoch: bytes) -> Lookup:
    """Read by MGET if a hit is likely and all names are known; else by ``read.lua``, or in parts on a cluster."""
    if shape_limit.is_met:
        version_set = shape_limit.coarsened(version_set)
    if version_set.is_multi_slot:
        return multi_slot.read(key, version_set)
    if timeout and not probably_cached.get(key):
        return _read_by_script(key, version_set, timeout, epoch)
    if version_set.coarse:
        if named_rows.last_named(key) is None:
            return _read_by_script(key, version_set, 0, epoch)
        get_all = partial(_get_all, epoch)
        return named_rows.read(key, version_set, get_all, partial(version_set.forget_other_epochs, epoch=epoch))
    reply = execute("MGET", key, *version_set.version_keys, epoch=epoch)
    value, *found = checked_reply(reply, 1 + len(version_set.version_keys))
    version_set.forget_other_epochs(found, epoch)
    if not version_set.are_current(found):
        return Lookup(key, version_set, MISS, None, value is not None)
    if value is None:
        return Lookup(key, version_set, MISS, found)
    return checked(
        Lookup(key, version_set, MISS, found), value[:SEAL_LENGTH], b"", memoryview(value)[SEAL_LENGTH:], found
    )


def _get_all(epoch: bytes, wanted: Sequence[str]) -> list[Any]:
    return checked_reply(execute("MGET", *wanted, epoch=epoch), len(wanted))


def create_versions(lookup: Lookup, timeout: int) -> None:
    """Create the missing versions of `lookup`, unless a table is fenced.  Call it before the database is read."""
    if lookup.versions is None:
        try:
            found = call_in_epoch(partial(_create, lookup.key, lookup.version_set, timeout), lookup.key)
        except TryAgainError:
            found = _missed_while_moving(lookup.key, lookup.version_set)
        lookup.versions, lookup.version_set = found.versions, found.version_set


def _create(key: str, version_set: VersionSet, timeout: int, epoch: bytes) -> Lookup:
    if version_set.is_multi_slot:
        return multi_slot.create_versions(key, version_set, timeout)
    return _read_by_script(key, version_set, timeout, epoch)


def _read_by_script(key: str, version_set: VersionSet, timeout: int, epoch: bytes) -> Lookup:
    """Read by script; with a timeout, create the missing versions."""
    args: list[Any] = [len(version_set.tables), len(version_set.dependencies), int(bool(version_set.coarse))]
    creation_keys: list[str] = []
    if timeout:
        args += [keys.fresh_token() + epoch.decode(), timeout, version_set.registration, int(uses_cluster())]
        creation_keys = version_set.index_and_fence_keys
        version_set.forget_outdated_indexes()
    reply = run_script("read", [key, *version_set.version_keys, *creation_keys], args, epoch)
    seal, names, body, *found = checked_reply(reply, 3 + len(version_set.version_keys))
    if seal is None and names == INDEX_FULL:
        shape_limit.note(version_set)
        return _read_by_script(key, version_set.coarsened, timeout, epoch)
    version_set.forget_other_epochs(found, epoch)
    lookup = Lookup(key, version_set, MISS, found if version_set.are_current(found) else None)
    if seal is None:
        return lookup
    checked(lookup, seal, names or b"", memoryview(body or b""), [found[i] or b"" for i in version_set.carried])
    if lookup.payload is not MISS:
        probably_cached.put(key, True)
        if version_set.coarse:
            named_rows.note(key, lookup.names)
    return lookup


def peek(key: str, version_set: VersionSet) -> tuple[Lookup, int | None]:
    """Look a value up without creating anything; return the lookup and the seconds that the value has to live.

    None instead of seconds if no value is stored.
    """
    lookup = call_in_epoch(partial(_read_in_epoch, key, version_set, 0), key)
    seconds = int(execute("TTL", key))
    lookup.is_outdated = lookup.is_outdated or (seconds != ABSENT and lookup.payload is MISS)
    return lookup, None if seconds == ABSENT else seconds


def fill(
    lookup: Lookup,
    payload: bytes,
    timeout: int,
    key: str | None = None,
    rows_by_dependency: RowsByDependency | None = None,
    is_awaited: bool = True,
) -> bool:
    """Store `payload` for `timeout` seconds under `key` (default: that of `lookup`), with what `lookup` says of it.

    `rows_by_dependency` are the row-level dependencies that replace the coarse ones of the version set.  Unless it
    `is_awaited`, the command may still be on its way when this returns.  Return False if nothing is stored, because
    there are no versions, one of them has changed, or an index has no room for the shapes of single rows.
    """
    if not timeout or lookup.versions is None:
        return False
    version_set = lookup.version_set
    key = key or lookup.key
    body = origin_header(key, lookup) + packed(payload)
    groups, names = described_rows(version_set, rows_by_dependency)
    seal = make_seal(key, [lookup.versions[i] for i in version_set.carried], names, body)
    probably_cached.put(lookup.key, True)
    if version_set.coarse:
        named_rows.note_keys(key, row_version_keys(groups))
    if version_set.is_multi_slot:
        return multi_slot.fill(
            key, version_set, lookup.versions, multi_slot.Filling(seal, names, body, groups), timeout
        )
    conjunction_sets = version_set.conjunction_set_keys if keeps_conjunction_sets() else ()
    args = [seal, body, timeout, len(lookup.versions), *lookup.versions]
    if version_set.coarse:
        further = [{name: group[name] for name in group.keys() - SIGNED_NAMES} for group in groups]
        args += [keys.fresh_token(), names, json.dumps(further)]
    script_keys = [key, *version_set.version_keys, *conjunction_sets]
    is_noted = partial(shape_limit.is_noted, version_set) if groups else None
    try:
        if is_awaited:
            return bool(run_script("fill", script_keys, args))
        send_script("fill", script_keys, args, is_handled=is_noted)
        return True
    except redis.ResponseError as error:
        if (is_noted is not None and is_noted(error)) or (isinstance(error, TryAgainError) and uses_cluster()):
            return False
        raise
