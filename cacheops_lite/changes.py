"""What a write changed, as the invalidation script takes it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

# Past this many images of one table in one flush its generation is dropped instead.
MAX_CHANGES_PER_TABLE = 1000


@dataclass(slots=True)
class Change:
    """One row of one table as a write changed it, in tokens by (quoted) column.

    `old` and `new` are its images, None where there was or is no such row.  `changed` are the columns that may differ,
    None where the row came or went.
    """

    table: str
    old: dict[str, str] | None
    new: dict[str, str] | None
    changed: list[str] | None = None

    def as_json(self) -> dict[str, Any]:
        items = {"old": self.old, "new": self.new, "changed": self.changed}
        return {name: value for name, value in items.items() if value is not None}


@dataclass(slots=True)
class Work:
    """Invalidations that belong together: changes of rows, and tables whose generation falls."""

    changes: list[Change] = field(default_factory=list)
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

    def coarsen(self) -> None:
        """Drop whole tables instead of what single rows meet."""
        self.tables = self.all_tables()
        self.changes = []

    def as_json(self) -> str:
        """What the script takes."""
        document: dict[str, dict[str, Any]] = {}
        for change in self.changes:
            document.setdefault(change.table, {"rows": []})["rows"].append(change.as_json())
        for table, work in document.items():
            if len(work["rows"]) > MAX_CHANGES_PER_TABLE:
                document[table] = {"all": True}
        for table in self.tables:
            document[table] = {"all": True}
        return json.dumps(document, separators=(",", ":"))
