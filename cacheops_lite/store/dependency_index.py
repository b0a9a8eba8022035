"""Dependency indexes as this process last read them from Redis: which shapes of dependencies exist for each table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..conf import on_change
from ..utils import LruMap
from . import keys
from .client import execute_many, raise_error, reset_connections
from .dependency_shapes import EPOCH_PREFIX, INCARNATION_PREFIX, parse
from .derived_shapes import DerivedShapes
from .server_address import CLIENT_SETTINGS
from .time_limit import run_command
from .write_set import AnyChange

# If changes meet more dependencies of a table, the table version is dropped instead: which takes the writer less time.
MAX_DEPENDENCIES = 5000


class DependencyIndex:
    """The shapes of a table.  Shapes are only added, so `incarnation` and `size` identify an index."""

    __slots__ = ("_derived", "_plain", "incarnation", "members", "shapes", "size")

    def __init__(self, members: Sequence[bytes]):
        self.members = frozenset(members)
        marks = [member for member in members if member.startswith(INCARNATION_PREFIX.encode())]
        incarnations = [member for member in marks if not member.startswith(EPOCH_PREFIX.encode())]
        parsed = [parse(member) for member in members if member not in marks]
        self.shapes = [shape for shape in parsed if shape is not None]
        self._plain = [shape for shape in self.shapes if not shape.derived]
        # Made when the first change needs it: a process may read an index only to know what is in it.
        self._derived: DerivedShapes | None = None
        self.size = len(members)
        # None if the index has foreign members: then it does not show which dependencies exist.
        self.incarnation = incarnations[0] if len(incarnations) == 1 and None not in parsed else None

    def dependencies_of(self, changes: Iterable[AnyChange]) -> set[str] | None:
        """Return the dependencies that changes of the table meet, None if they are unknown or too many."""
        found: set[str] = set()
        for change in changes:
            for shape in self._plain:
                dependencies = change.dependencies(shape)
                if dependencies is None:
                    return None
                found.update(dependencies)
            if len(self._plain) < len(self.shapes) and not self._add_derived(change, found):
                return None
            if len(found) > MAX_DEPENDENCIES:
                return None
        return found

    def _add_derived(self, change: AnyChange, found: set[str]) -> bool:
        """Add the dependencies with derived conditions that a change meets; return whether they are known."""
        if self._derived is None:
            self._derived = DerivedShapes(shape for shape in self.shapes if shape.derived)
        return self._derived.add_met(change, found)


@dataclass(slots=True)
class RequiredColumns:
    """The columns that row images need, by table: those of conditions, and those that results read.

    `reads` of a table is None if some shape reads all columns.  `shapes` are the columns of conditions that belong
    together, joined by commas.
    """

    conditions: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str] | None] = field(default_factory=dict)
    shapes: dict[str, set[str]] = field(default_factory=dict)

    def add(self, table: str, index: DependencyIndex) -> None:
        """Add the columns of an index's shapes."""
        conditions = self.conditions.setdefault(table, set())
        shapes = self.shapes.setdefault(table, set())
        reads: set[str] | None = self.reads.get(table, set())
        for shape in index.shapes:
            shapes.add(shape.joined)
            conditions.update(shape.stored_columns)
            if shape.reads is None:
                reads = None
            elif reads is not None:
                reads |= shape.reads
        self.reads[table] = reads

    def is_read(self, table: str, column: str) -> bool:
        """Return whether some result reads the column."""
        reads = self.reads[table]
        return reads is None or column in reads


def required_columns(prefixes: Mapping[str, Sequence[str]]) -> RequiredColumns | None:
    """Return the columns that the known indexes of tables require, under each of their prefixes.

    Return None if an index is not known: `load` reads it.  If Redis has got a new shape since, its columns may be
    missing from the images; then the whole table is invalidated.
    """
    found = RequiredColumns()
    for table in prefixes:
        for prefix in prefixes[table]:
            index = usable(prefix, table)
            if index is None:
                return None
            found.add(table, index)
    return found


def load(prefixes: Mapping[str, Sequence[str]]) -> None:
    """Read the indexes of tables, under each of their prefixes, from Redis in one round trip."""
    places = [(prefix, table) for table in prefixes for prefix in prefixes[table]]
    requests: list[Any] = [(("SMEMBERS", keys.index_key(prefix, table)), None) for prefix, table in places]
    try:
        replies = run_command(execute_many, requests)
    except (TypeError, ValueError):
        # redis-py could not convert the replies, because they belong to other requests.
        replies = [None]
    if not all(
        type(members) in (set, list) and all(type(each) is bytes for each in members)
        for members in map(raise_error, replies)
    ):
        reset_connections()
        return
    for (prefix, table), members in zip(places, replies, strict=True):
        remember(prefix, table, members)


def known(prefix: str, table: str) -> DependencyIndex | None:
    """Return the index of a table as this process last read it."""
    return _known.get((prefix, table))


def usable(prefix: str, table: str) -> DependencyIndex | None:
    """Return the known index of a table unless it has foreign members."""
    index = known(prefix, table)
    return index if index is None or index.incarnation is not None or not index.size else None


def remember(prefix: str, table: str, members: Sequence[bytes]) -> DependencyIndex:
    """Store and return the index with these members."""
    index = DependencyIndex(members)
    _known.put((prefix, table), index)
    return index


def forget_if_lacking(prefix: str, table: str, member: str) -> None:
    """Forget the known index of a table if it lacks a shape that this process is about to register."""
    index = known(prefix, table)
    if index is not None and member.encode() not in index.members:
        _known.forget((prefix, table))


_known: LruMap[tuple[str, str], DependencyIndex] = LruMap(1000)


@on_change
def _forget_all(setting: str) -> None:
    # The settings may name another server.
    if setting in CLIENT_SETTINGS:
        _known.clear()
