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
    None where the row came or went.  `pk` is the token of its own key; `mark` and `generation` are what
    `look` found.
    """

    table: str
    old: dict[str, str] | None
    new: dict[str, str] | None
    changed: list[str] | None = None
    pk: str | None = None
    mark: str | None = None
    generation: str | None = None

    def as_json(self) -> dict[str, Any]:
        items = {"old": self.old, "new": self.new, "changed": self.changed}
        document: dict[str, Any] = {name: value for name, value in items.items() if value is not None}
        if self.pk is not None:
            document["marks"] = [self.pk]
            if self.mark is not None:
                document["mark"] = self.mark
                if self.generation is not None:
                    document["generation"] = self.generation
        return document


@dataclass(slots=True)
class Work:
    """Invalidations that belong together: changes of rows, and tables whose generation falls; all of one prefix."""

    changes: list[Change] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    everything: bool = False
    # What to tell receivers of cache_invalidated when it is done: (sender, obj_dict).
    notices: list[tuple[Any, dict[str, Any] | None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.tables or self.everything)

    def all_tables(self) -> set[str]:
        """The tables that anything of it is about."""
        return self.tables | {change.table for change in self.changes}

    def add(self, other: Work) -> None:
        self.changes += other.changes
        self.tables |= other.tables
        self.everything = self.everything or other.everything
        self.notices += other.notices

    def as_json(self) -> str:
        document: dict[str, dict[str, Any]] = {}
        for change in self.changes:
            rows = document.setdefault(change.table, {"rows": []})["rows"]
            rows.append(change.as_json())
        for work in document.values():
            if len(work["rows"]) > MAX_CHANGES_PER_TABLE:
                work["all"] = True
                # The marks must end all the same, for the sake of writers that look at these rows now.
                work["rows"] = [{"marks": row["marks"]} for row in work["rows"] if "marks" in row]
        for table in self.tables:
            document.setdefault(table, {})["all"] = True
        return json.dumps(document, separators=(",", ":"))
