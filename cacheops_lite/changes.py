"""What a write changed, as the invalidation script takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Past this many images of one table in one flush its generation is dropped instead.
MAX_CHANGES_PER_TABLE = 1000


class Mark(NamedTuple):
    """What shows whether somebody wrote since a look: the row's mark, and the generation of its table if it had one."""

    token: str
    generation: str | None


# Fits none that Redis holds, so that the table's generation is dropped.
LOST = Mark("lost", None)


@dataclass(slots=True)
class Change:
    """One row of one table as a write changed it, in tokens by (quoted) column.

    `old` and `new` are its images, None where there was or is no such row.  `changed` are the columns that may differ,
    None where the row came or went.  `pk` is the token of its own key; `marks` are what `look` found under each prefix,
    empty if the row was locked.
    """

    table: str
    old: dict[str, str] | None
    new: dict[str, str] | None
    changed: list[str] | None = None
    pk: str | None = None
    marks: Mapping[str, Mark] = field(default_factory=dict)

    def as_json(self, prefix: str) -> dict[str, Any]:
        items = {"old": self.old, "new": self.new, "changed": self.changed}
        document: dict[str, Any] = {name: value for name, value in items.items() if value is not None}
        if self.pk is not None:
            document["marks"] = [self.pk]
            if self.marks:
                mark = self.marks.get(prefix, LOST)
                document["mark"] = mark.token
                if mark.generation is not None:
                    document["generation"] = mark.generation
        return document


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

    def as_json(self, prefix: str) -> str:
        """What the script takes, for the keys of one prefix."""
        document: dict[str, dict[str, Any]] = {}
        for change in self.changes:
            rows = document.setdefault(change.table, {"rows": []})["rows"]
            rows.append(change.as_json(prefix))
        for work in document.values():
            if len(work["rows"]) > MAX_CHANGES_PER_TABLE:
                work["all"] = True
                # The marks must end all the same, for the sake of writers that look at these rows now.
                work["rows"] = [{"marks": row["marks"]} for row in work["rows"] if "marks" in row]
        for table in self.tables:
            document.setdefault(table, {})["all"] = True
        return json.dumps(document, separators=(",", ":"))
