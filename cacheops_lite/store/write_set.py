"""Describe what a write changed: rows, whole tables, keys of the simple cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..observe import Invalidation
from .dependency_shapes import NO_DEPENDENCY, Shape

# If one call would invalidate more changes of a table, its table version is dropped instead.
MAX_CHANGES_PER_TABLE = 1000
# If more keys wait to be removed, all keys under their prefix are removed instead.
MAX_OVERDUE_KEYS = 1000


@dataclass(slots=True)
class Change:
    """One changed row of one table.

    `old` and `new` are its before and after image, {(quoted) column: token}; None if the row was inserted or deleted.
    `changed` are the columns that may differ, None for an insert or a delete.
    """

    table: str
    old: Mapping[str, str] | None
    new: Mapping[str, str] | None
    changed: list[str] | None = None

    @property
    def weight(self) -> int:
        """How much it counts towards MAX_CHANGES_PER_TABLE."""
        return 1

    def dependencies(self, shape: Shape) -> Sequence[str] | None:
        """Return the dependencies of a shape that the row meets, None if an image lacks a column."""
        old, new, changed = self.old, self.new, self.changed
        if changed is not None and not shape.reads_any(changed):
            return ()
        if old is not None and new is not None and changed is not None and not shape.has_condition_on_any(changed):
            # The new image meets the same dependency as the old one.
            new = None
        dependencies = [shape.dependency_of(image) for image in (old, new) if image is not None]
        if None in dependencies:
            return None
        return [each for each in dependencies if each != NO_DEPENDENCY]  # type: ignore[misc]


@dataclass(slots=True)
class InsertedRows:
    """Many rows inserted into one table.

    `conditions` are those that any row meets: {columns of a shape, joined by commas: {"column=token&...", ...}}.
    A shape is absent if a token of some row is unknown.
    """

    table: str
    conditions: dict[str, set[str]]

    @property
    def weight(self) -> int:
        """How much they count towards MAX_CHANGES_PER_TABLE: rows that meet the same conditions count once."""
        return max([1, *map(len, self.conditions.values())])

    def dependencies(self, shape: Shape) -> Sequence[str] | None:
        """Return the dependencies of a shape that any of the rows meets, None if the shape is absent."""
        conditions = self.conditions.get(shape.joined)
        return None if conditions is None else [shape.dependency(condition) for condition in conditions]


AnyChange: TypeAlias = Change | InsertedRows


@dataclass(slots=True)
class WriteSet:
    """Invalidations that are delivered together: changed rows, and tables to invalidate as a whole."""

    changes: list[AnyChange] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    everything: bool = False
    # Keys of the simple cache to remove.
    keys: set[str] = field(default_factory=set)
    # The writes that it comes from, to be published once it is delivered.
    causes: list[Invalidation] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.tables or self.everything or self.keys)

    def all_tables(self) -> set[str]:
        """Return all tables that it invalidates, in part or as a whole."""
        return self.tables | {change.table for change in self.changes}

    def add(self, other: WriteSet) -> None:
        self.changes += other.changes
        self.tables |= other.tables
        self.everything = self.everything or other.everything
        self.keys |= other.keys
        self.causes += other.causes

    def copied_without_causes(self) -> WriteSet:
        return WriteSet([*self.changes], {*self.tables}, self.everything, {*self.keys})

    @property
    def weight(self) -> int:
        """The sum of the weights of its changes."""
        return sum(change.weight for change in self.changes)

    def coarsen(self) -> None:
        """Invalidate whole tables instead of what single rows meet."""
        self.tables = self.all_tables()
        self.changes = []

    def by_table(self) -> dict[str, list[AnyChange] | None]:
        """Return the changes of each table, None for a table that is invalidated as a whole."""
        weights: Counter[str] = Counter()
        for change in self.changes:
            weights[change.table] += change.weight
        by_table: dict[str, list[AnyChange] | None] = {}
        for change in self.changes:
            if weights[change.table] <= MAX_CHANGES_PER_TABLE:
                by_table.setdefault(change.table, []).append(change)  # type: ignore[union-attr]
        return by_table | dict.fromkeys(self.all_tables() - set(by_table)) | dict.fromkeys(self.tables)


def merge(into: dict[str, WriteSet], write_sets: Mapping[str, WriteSet]) -> None:
    """Add write sets, by prefix, to those that wait to be delivered; if these get large, coarsen them."""
    for prefix, write_set in write_sets.items():
        merged = into.setdefault(prefix, WriteSet())
        # The causes were already published.
        merged.add(replace(write_set, causes=[]))
        if merged.weight > MAX_CHANGES_PER_TABLE:
            merged.coarsen()
        if len(merged.keys) > MAX_OVERDUE_KEYS:
            merged.everything, merged.keys = True, set()
