"""The store: the protocol that keeps cached values valid.

A cached value carries the versions that it was built under and is valid while every one of them still stands.  The steps,
in the order that makes it so: `read` (versions come with the value), `create_versions` (what of them is absent is made), the
database, `fill`; and on the side of a write, in `invalidator`: `invalidate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import cached_property

from ..conf import settings
from ..schema import Dependency, RowsByDependency
from ..utils import LruMap
from . import dependency_index, keys
from .client import execute, note_confusion, run_script
from .invalidator import deliver_overdue, is_overdue

DIGEST_LENGTH = 16


class _Miss:
    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS = _Miss()


class VersionSet:
    """What a result rests on, as Redis keys: table versions of tables and versions of dependencies.

    `prefix` is that of all keys, or tells the one of each table.  The versions of `coarse` dependencies are what
    narrower ones are made under at the fill; a value then carries these instead.
    """

    def __init__(
        self,
        prefix: str | Callable[[str], str],
        dependencies: Iterable[Dependency],
        tables: Iterable[str] = (),
        coarse: Iterable[Dependency] = (),
    ):
        shapes = [keys.named(dependency) for dependency in dependencies]
        if len(shapes) > 1:
            shapes = sorted(set(shapes))
        self.tables = sorted({shape.table for shape in shapes} | set(map(keys.name_in_keys, tables)))
        self.prefixes = [prefix if isinstance(prefix, str) else prefix(table) for table in self.tables]
        self._shapes = shapes
        self.dependencies = [shape.dependency for shape in shapes]
        self.owners = [self.tables.index(shape.table) for shape in shapes]
        self.coarse = {each: self.dependencies.index(keys.named(each).dependency) for each in coarse}
        # The keys whose values are in a value's digest: table versions, then versions.
        self.checked_keys = [
            *map(keys.table_version_key, self.prefixes, self.tables),
            *self._of_dependencies(keys.version_key),
        ]

    @cached_property
    def conjunction_set_keys(self) -> list[str]:
        """The sets of those versions that a value itself carries."""
        coarse = set(self.coarse.values())
        return [key for i, key in enumerate(self._of_dependencies(keys.conjunction_set_key)) if i not in coarse]

    @cached_property
    def carried(self) -> list[int]:
        """Which of `checked_keys` a value itself carries."""
        coarse = {len(self.tables) + i for i in self.coarse.values()}
        return [i for i in range(len(self.checked_keys)) if i not in coarse]

    def _of_dependencies(self, key: Callable[[str, str], str]) -> list[str]:
        return [
            key(self.prefixes[owner], version) for owner, version in zip(self.owners, self.dependencies, strict=True)
        ]

    def standing(self, found: Sequence[bytes | None]) -> bool:
        """All of `checked_keys` are there, and each version is of its table's present table version."""
        if None in found:
            return False
        n = len(self.tables)
        return all(
            found[n + i][: keys.TOKEN_LENGTH] == found[owner]  # type: ignore[index]
            for i, owner in enumerate(self.owners)
        )

    @cached_property
    def making_keys(self) -> list[str]:
        """Those that ``read.lua`` makes versions by: dependency indexes, then holds."""
        return [
            *map(keys.index_key, self.prefixes, self.tables),
            *map(keys.fence_key, self.prefixes, self.tables),
        ]

    @cached_property
    def as_json(self) -> str:
        """What ``read.lua`` registers."""
        members = [sorted({shape.shape for shape in self._shapes if shape.table == table}) for table in self.tables]
        return json.dumps({"shapes": members, "owners": [owner + 1 for owner in self.owners]})

    def expect_shapes(self) -> None:
        """To be called when they are registered."""
        for shape, owner in zip(self._shapes, self.owners, strict=True):
            dependency_index.expect(self.prefixes[owner], shape.table, shape.shape)

    def groups(self, rows_by_dependency: RowsByDependency) -> list[dict[str, Any]]:
        """What ``fill.lua`` is to put in the places of coarse dependencies."""
        found: list[dict[str, Any]] = []
        for dependency, position in self.coarse.items():
            owner = self.owners[position]
            prefix, table = self.prefixes[owner], self.tables[owner]
            columns = rows_by_dependency.get(dependency)
            if columns is None:
                found.append(_group(owner, prefix, self.dependencies[position], "", [""]))
                continue
            for column, tokens in columns.items():
                family = keys.family(dependency.table, column, dependency.columns)
                group = _group(owner, prefix, family.head, family.tail, sorted(tokens))
                found.append({**group, "index": keys.index_key(prefix, table), "shape": family.shape})
        return found


def _group(owner: int, prefix: str, head: str, tail: str, values: list[str]) -> dict[str, Any]:
    group = {"owner": owner + 1, "version": keys.version_key(prefix, head), "tail": tail, "values": values}
    if not settings.CACHEOPS_INSIDEOUT:
        group["conjunction_set"] = keys.conjunction_set_key(prefix, head)
    return group


@dataclass(slots=True)
class Lookup:
    """What a read found: the payload of a valid value or MISS, and the versions that a new value would stand under."""

    key: str
    version_set: VersionSet
    payload: bytes | _Miss
    versions: list[bytes] | None


def read(key: str, version_set: VersionSet, timeout: int = 0) -> Lookup:
    """Look `key` up together with all that it rests on, in one round trip.

    With a `timeout` in seconds what is absent, and will hardly be found, is made at once, to live as long at least.
    """
    while True:
        deliver_overdue()
        lookup = _read(key, version_set, timeout)
        # Before our reply others may have come that tell of a flush which was lost.
        if not is_overdue():
            return lookup


def _read(key: str, version_set: VersionSet, timeout: int) -> Lookup:
    if timeout and not _known.get(key):
        return _run_read(key, version_set, timeout)
    if version_set.coarse:
        return _run_read(key, version_set, 0)
    value, *found = checked(execute("MGET", key, *version_set.checked_keys), 1 + len(version_set.checked_keys))
    if not version_set.standing(found):
        return Lookup(key, version_set, MISS, None)
    payload: bytes | _Miss = MISS
    if value is not None and value[:DIGEST_LENGTH] == _digest(key, found):
        payload = value[DIGEST_LENGTH:]
    return Lookup(key, version_set, payload, found)


def create_versions(lookup: Lookup, timeout: int) -> None:
    """Make sure that `lookup` holds versions.  To be called before the database is asked."""
    if lookup.versions is None:
        lookup.versions = _run_read(lookup.key, lookup.version_set, timeout).versions


def _run_read(key: str, version_set: VersionSet, timeout: int) -> Lookup:
    """Read by script; with a timeout, make what is absent."""
    args: list[Any] = [len(version_set.tables), len(version_set.dependencies), int(bool(version_set.coarse))]
    making_keys: list[str] = []
    if timeout:
        args += [keys.fresh_token(), timeout, version_set.as_json]
        making_keys = version_set.making_keys
        version_set.expect_shapes()
    reply = run_script("read", [key, *version_set.checked_keys, *making_keys], args)
    digest, kept, *found = checked(reply, 2 + len(version_set.checked_keys))
    payload: bytes | _Miss = MISS
    if digest and digest == _digest(key, [found[i] or b"" for i in version_set.carried]):
        payload = kept
        _known.put(key, True)
    return Lookup(key, version_set, payload, found if version_set.standing(found) else None)


def fill(
    lookup: Lookup,
    payload: bytes,
    timeout: int,
    key: str | None = None,
    rows_by_dependency: RowsByDependency | None = None,
    run: Callable[[str, Sequence[Any], Sequence[Any]], Any] = run_script,
) -> bool:
    """Store `payload` for `timeout` seconds, under `key` if it is another one; False when it was dead on arrival.

    `rows_by_dependency` tells what it rests on of the basis' coarse dependencies.  With `send_script` to `run` it, it may
    still be under way on return.
    """
    if not timeout or lookup.versions is None:
        return False
    version_set = lookup.version_set
    dependents = () if settings.CACHEOPS_INSIDEOUT else version_set.conjunction_set_keys
    key = key or lookup.key
    digest = _digest(key, [lookup.versions[i] for i in version_set.carried])
    args = [digest, payload, timeout, len(lookup.versions), *lookup.versions]
    if version_set.coarse:
        args += [keys.fresh_token(), json.dumps(version_set.groups(rows_by_dependency or {}))]
    _known.put(lookup.key, True)
    return bool(run("fill", [key, *version_set.checked_keys, *dependents], args))


# Only a guess at whether a value will be found, which decides between a command and a script.
_known: LruMap[str, bool] = LruMap(4096)


def _digest(key: str, versions: Sequence[bytes]) -> bytes:
    # It proves that a value belongs to its key: a reply may be the one to another request.  Generations and versions have
    # fixed lengths, so that joining them is unambiguous.
    return hashlib.blake2b(b"".join([*versions, key.encode()]), digest_size=DIGEST_LENGTH).digest()


def checked(reply: Any, length: int) -> list[Any]:
    """`reply`, if it has the form of a reply to the request for so many values; else as many that are absent."""
    if type(reply) is list and len(reply) == length and _KINDS_OF_VALUES.issuperset(map(type, reply)):
        return reply
    note_confusion()
    return [None] * length


_KINDS_OF_VALUES = frozenset({bytes, type(None)})
