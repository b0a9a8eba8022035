"""Read and fill values on a Redis Cluster whose versions lie in several slots: one request for each, at the same time.

No step needs to be atomic across slots, see `named_rows`.  What the fill of a value with row-level dependencies has to
check and create at once concerns one table, and thus one slot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import TryAgainError

from . import keys, named_rows, shape_limit
from .client import current_epoch, execute_many, raise_error, run_scripts, send
from .replies import checked_reply
from .stored_value import INDEX_FULL, MISS, Lookup, row_version_keys
from .time_limit import run_command
from .version_set import VersionSet

# What read.lua takes instead of the flag that a value has a header.
NO_VALUE = "-"


def read(key: str, version_set: VersionSet) -> Lookup:
    """Read a value and its versions; create none.  Raises errors of Redis, and EpochChanged."""
    return named_rows.read(key, version_set, _get_all, partial(_forget_other_epochs, version_set))


def _get_all(wanted: Sequence[str]) -> list[Any]:
    """Return the values of keys."""
    positions_by_slot: dict[int, list[int]] = {}
    for i, key in enumerate(wanted):
        positions_by_slot.setdefault(key_slot(key.encode()), []).append(i)
    groups = list(positions_by_slot.values())
    requests = [
        (("MGET", *(wanted[i] for i in positions)), current_epoch(wanted[positions[0]])) for positions in groups
    ]
    found: list[Any] = [None] * len(wanted)
    for positions, reply in zip(groups, run_command(execute_many, requests), strict=True):
        for i, value in zip(positions, checked_reply(raise_error(reply), len(positions)), strict=True):
            found[i] = value
    return found


def _forget_other_epochs(version_set: VersionSet, found: list[bytes | None]) -> None:
    """Replace table versions that were made on another node, or in an earlier life of their node, by None."""
    for i, key in enumerate(version_set.version_keys[: len(version_set.tables)]):
        version = found[i]
        if version is not None and version[keys.TOKEN_LENGTH :] != current_epoch(key):
            found[i] = None


def create_versions(key: str, version_set: VersionSet, timeout: int) -> Lookup:
    """Create the missing versions; they live at least `timeout` seconds.  Raises errors of Redis, and EpochChanged."""
    version_set.forget_outdated_indexes()
    calls, positions_of_calls = [], []
    for part in version_set.parts:
        table_key = part.version_keys[0]
        epoch = current_epoch(table_key)
        args = [1, len(part.version_keys) - 1, NO_VALUE, keys.fresh_token() + epoch.decode(), timeout]
        args += [part.registration, 1]
        calls.append(([table_key, *part.version_keys, part.index_key, part.fence_key], args, epoch))
        positions_of_calls.append(part.positions)
    found: list[Any] = [None] * len(version_set.version_keys)
    for positions, reply in zip(positions_of_calls, run_scripts("read", calls), strict=True):
        seal, names, _, *versions = checked_reply(raise_error(reply), 3 + len(positions))
        if seal is None and names == INDEX_FULL:
            shape_limit.note(version_set)
            return create_versions(key, version_set.coarsened, timeout)
        for i, version in zip(positions, versions, strict=True):
            found[i] = version
    _forget_other_epochs(version_set, found)
    return Lookup(key, version_set, MISS, found if version_set.are_current(found) else None)


@dataclass(slots=True)
class Filling:
    """The parts of a value that is about to be stored; `groups` are its row-level dependencies."""

    seal: bytes
    names: bytes
    body: bytes
    groups: list[dict[str, Any]]


def fill(key: str, version_set: VersionSet, versions: Sequence[bytes], filling: Filling, timeout: int) -> bool:
    """Store a value for `timeout` seconds; False if nothing is stored, because one of its versions has changed.

    The command may still be on its way when this returns.  Raises errors of Redis.
    """
    try:
        header = _created_header(version_set, versions, filling, timeout) if version_set.coarse else b""
        if header is None:
            return False
        # Without row-level dependencies it is invalid from the start if a version has changed.
        send("SET", key, filling.seal + header + filling.body, "EX", timeout)
    except TryAgainError:
        return False
    return True


def _created_header(version_set: VersionSet, versions: Sequence[bytes], filling: Filling, timeout: int) -> bytes | None:
    """Create the versions of row-level dependencies and return the header; None if a version has changed."""
    tokens: list[Any] = [[] for _ in filling.groups]
    calls, positions_of_calls = [], []
    for number, part in enumerate(version_set.parts, 1):
        positions = [i for i, group in enumerate(filling.groups) if group["owner"] == number]
        if not positions:
            continue
        groups = [filling.groups[i] for i in positions]
        names = row_version_keys(groups)
        own = [versions[i] for i in part.positions]
        described = json.dumps([{name: g[name] for name in g.keys() - {"owner"}} for g in groups])
        args = [len(own), *own, timeout, keys.fresh_token(), described]
        calls.append(([*part.version_keys, part.index_key, *names], args, None))
        positions_of_calls.append(positions)
    for positions, reply in zip(positions_of_calls, run_scripts("create_row_versions", calls), strict=True):
        if isinstance(reply, redis.RedisError) and shape_limit.is_noted(version_set, reply):
            return None
        if type(raise_error(reply)) is not list or len(reply) != len(positions):
            return None
        for i, found in zip(positions, reply, strict=True):
            tokens[i] = [token.decode() for token in found]
    encoded = json.dumps(tokens).encode()
    return b"%08d%08d" % (len(filling.names), len(encoded)) + filling.names + encoded
