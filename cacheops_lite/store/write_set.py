"""What a write changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .dependency_shapes import Shape

# Past this many images of one table in one flush its table version is dropped instead.
MAX_CHANGES_PER_TABLE = 1000


@dataclass(slots=True)
class Change:
    """One row of one table as a write changed it, in tokens by (quoted) column.

    `old` and `new` are its images, None where there was or is no such row.  `changed` are the columns that may differ,
    None where the row came or went.
    """

    table: str
    old: Mapping[str, str] | None
    new: Mapping[str, str] | None
    changed: list[str] | None = None

    @property
    def weight(self) -> int:
        """How many rows it is about."""
        return 1

    def dependencies(self, shape: Shape) -> Sequence[str] | None:
        """What it meets of a shape of its table; None if that can't be told."""
        old, new, changed = self.old, self.new, self.changed
        if changed is not None and not shape.concerns(changed):
            return ()
        if old is not None and new is not None and changed is not None and not shape.names(changed):
            # The same as of the old one.
            new = None
        dependencies = [shape.dependency_of(image) for image in (old, new) if image is not None]
        return None if None in dependencies else dependencies  # type: ignore[return-value]


@dataclass(slots=True)
class Arrivals:
    """Many rows that came to a table: by the (quoted) columns of a shape, joined by commas, what any of them meets.

    Of each ``"column=token&..."`` there is one, however many rows meet it.  A shape that is not there is one of which
    that can't be told.
    """

    table: str
    met: dict[str, set[str]]

    @property
    def weight(self) -> int:
        return max(map(len, self.met.values()), default=1)

    def dependencies(self, shape: Shape) -> Sequence[str] | None:
        """What it meets of a shape of its table; None if that can't be told."""
        conditions = self.met.get(shape.joined)
        return None if conditions is None else [shape.dependency(condition) for condition in conditions]


AnyChange: TypeAlias = Change | Arrivals


@dataclass(slots=True)
class WriteSet:
    """Invalidations that belong together: changes of rows, and tables whose table version falls."""

    changes: list[AnyChange] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    everything: bool = False
    # Keys of the simple cache to remove.
    keys: set[str] = field(default_factory=set)
    # What to tell receivers of cache_invalidated when it is done: (sender, obj_dict).
    notices: list[tuple[Any, dict[str, Any] | None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.tables or self.everything or self.keys)

    def all_tables(self) -> set[str]:
        """The tables that anything of it is about."""
        return self.tables | {change.table for change in self.changes}

    def add(self, other: WriteSet) -> None:
        self.changes += other.changes
        self.tables |= other.tables
        self.everything = self.everything or other.everything
        self.keys |= other.keys
        self.notices += other.notices

    @property
    def weight(self) -> int:
        """How many rows it is about."""
        return sum(change.weight for change in self.changes)

    def coarsen(self) -> None:
        """Drop whole tables instead of what single rows meet."""
        self.tables = self.all_tables()
        self.changes = []

    def by_table(self) -> dict[str, list[AnyChange] | None]:
        """The changes of each table, None where all of it falls."""
        weights: Counter[str] = Counter()
        for change in self.changes:
            weights[change.table] += change.weight
        found: dict[str, list[AnyChange] | None] = {}
        for change in self.changes:
            if weights[change.table] <= MAX_CHANGES_PER_TABLE:
                found.setdefault(change.table, []).append(change)  # type: ignore[union-attr]
        return found | dict.fromkeys(self.all_tables() - set(found)) | dict.fromkeys(self.tables)
