"""A read of a query that can be cached: its name, its dependencies, and how its rows are captured and replayed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet

from ..query import KeyColumns, RowLevelDependency, SqlTemplate, row_dependencies, row_recorder
from ..schema import Dependency, RowsByDependency, name_in_keys
from ..store import VersionSet, digest, prefixes_of_tables, value_key, value_suffix
from ..utils import error_boundary

# Projects with a key prefix per host or tenant need a version set per prefix: this bounds them for each read.
MAX_MEMO_ENTRIES = 32


class Place(NamedTuple):
    """The key of a result, the versions that it depends on, and the prefix of the key."""

    key: str
    version_set: VersionSet
    prefix: str


@dataclass(slots=True)
class CacheableRead:
    """A read that can be cached.  `replay` makes results from stored rows."""

    name: str
    fingerprint: Hashable
    dependencies: Collection[Dependency]
    is_non_deterministic: bool
    replay: Callable[[QuerySet[Any], Any], list[Any]]
    row_level: Sequence[RowLevelDependency] = ()
    sql_template: SqlTemplate | None = None
    # Further columns to select, from which row-level dependencies are made.
    key_columns: KeyColumns | None = None
    # What is derived from the name and the dependencies.  Reads by the same plan with the same values share it.
    memo: dict[Hashable, Any] = field(default_factory=dict)
    tables: list[str] = field(init=False)

    def __post_init__(self) -> None:
        tables = self.memo.get("tables")
        if tables is None:
            tables = self.memo["tables"] = sorted({dependency.table for dependency in self.dependencies})
        self.tables = tables

    def place_on(self, using: str, is_db_agnostic: bool) -> Place:
        """Return where the result of this read of a database is stored."""
        prefix, prefixes = prefixes_of_tables(self.tables, using)
        suffix = value_suffix(using)
        key = (using, prefix, prefixes, suffix, is_db_agnostic, len(self.row_level))
        found = self.memo.get(key)
        if found is None:
            # The same read of other databases has another name.
            name = self.name if is_db_agnostic else digest(self.name, using)
            by_table = dict(zip(map(name_in_keys, self.tables), prefixes, strict=True))
            coarse = [each.coarse for each in self.row_level]
            fallback = row_dependencies.without_rows(self.dependencies, self.row_level) if coarse else None
            version_set = VersionSet(by_table.__getitem__, self.dependencies, coarse=coarse, fallback=fallback)
            found = Place(value_key(prefix, name + suffix, version_set.tables), version_set, prefix)
            if len(self.memo) >= MAX_MEMO_ENTRIES:
                self.memo.clear()
            self.memo[key] = found
        return found

    def row_resolver(self, queryset: QuerySet[Any]) -> Callable[..., RowsByDependency] | None:
        """Return a function from the rows of `queryset` to its row-level dependencies, None if it has none."""
        if not self.row_level:
            return None
        vendor, query = connections[queryset.db].vendor, queryset.query
        size = None if query.high_mark is None else query.high_mark - query.low_mark
        return partial(row_dependencies.resolve_rows, self.row_level, vendor=vendor, size=size)

    def capture(self, queryset: QuerySet[Any]) -> row_recorder.Capture:
        """Return a `Capture` for `queryset`, which this is the read of; it uses the plan's SQL template if it can."""
        template, key_columns = self.sql_template, self.key_columns
        if not any(each.narrowed for each in self.row_level):
            key_columns = None
        if template is not None:
            try:
                sql_compiler = template.compiler(queryset.query, queryset.db)
            except Exception as error:
                # Django composes the query itself, and raises its own error if there is one.
                error_boundary.reraise_interrupt(error)
            else:
                if sql_compiler is not None:
                    return row_recorder.Capture(sql_compiler, template.mutable, key_columns)
        return row_recorder.Capture(key_columns=key_columns)
