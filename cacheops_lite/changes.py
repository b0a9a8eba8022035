"""What a write changed, as the invalidation script takes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# Past this many images of one table in one flush its generation is dropped instead.
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

    def as_json(self, columns: Sequence[str]) -> list[Any]:
        """What the script takes: both images, of these columns only, and `changed`."""
        old, new, changed = self.old, self.new, self.changed
        before = 0 if old is None else [old.get(column, UNKNOWN) for column in columns]
        if new is None:
            after: Any = 0
        elif old is None or changed is None:
            after = [new.get(column, UNKNOWN) for column in columns]
        else:
            after = [new.get(column, UNKNOWN) if column in changed else SAME for column in columns]
        return [before, after, 0 if changed is None else changed]


# In place of a token: the image does not tell; it is the same in both.
UNKNOWN, SAME = 0, 1


@dataclass(slots=True)
class Arrivals:
    """Many rows that came to a table: by the (quoted) columns of a scheme, joined by commas, what any of them meets.

    Of each ``"column=token&..."`` there is one, however many rows meet it.  A scheme that is not there is one of which
    that can't be told.
    """

    table: str
    met: dict[str, set[str]]

    @property
    def weight(self) -> int:
        return max(map(len, self.met.values()), default=1)

    def as_json(self, columns: Sequence[str]) -> dict[str, list[str]]:
        """What the script takes; nothing depends on `columns`."""
        return {scheme: list(conditions) for scheme, conditions in self.met.items()}


AnyChange: TypeAlias = Change | Arrivals


@dataclass(slots=True)
class Work:
    """Invalidations that belong together: changes of rows, and tables whose generation falls."""

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

    def add(self, other: Work) -> None:
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

    def as_json(self, columns_of: Callable[[str], Sequence[str]]) -> str:
        """What the script takes: of each table the images of the columns that `columns_of` it names."""
        weights: Counter[str] = Counter()
        for change in self.changes:
            weights[change.table] += change.weight
        coarse = self.tables | {table for table, weight in weights.items() if weight > MAX_CHANGES_PER_TABLE}
        document: dict[str, dict[str, Any]] = {table: {"all": True} for table in coarse}
        for change in self.changes:
            table = change.table
            if table in coarse:
                continue
            work = document.get(table)
            if work is None:
                work = document[table] = {"columns": columns_of(table), "rows": [], "met": []}
            work["met" if isinstance(change, Arrivals) else "rows"].append(change.as_json(work["columns"]))
        return _ENCODER.encode(document)


# Made once: json.dumps() makes one for each call that asks for other separators.
_ENCODER = json.JSONEncoder(separators=(",", ":"))
