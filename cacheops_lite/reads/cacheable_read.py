"""A read of a query that can be cached: its name, its dependencies, and how its rows are captured and replayed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db.models import QuerySet

from ..query import KeyColumns, RowLevelDependency, SqlTemplate, row_dependencies, row_recorder
from ..schema import Dependency, RowsByDependency, name_in_keys
from ..store import VersionSet, digest, prefix_of_table
from ..utils import error_boundary

# Projects with a key prefix per host or tenant need a version set per prefix: this bounds them for each read.
MAX_MEMO_ENTRIES = 32


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
        self.tables = self._memoized("tables", lambda: sorted({dependency.table for dependency in self.dependencies}))

    def name_on(self, using: str) -> str:
        """Return a name that distinguishes this read from the same read of other databases."""
        return self._memoized(using, lambda: digest(self.name, using))

    def version_set(self, using: str) -> VersionSet:
        """Return the Redis keys of the versions that the result depends on."""
        names = [*map(name_in_keys, self.tables)]
        prefixes = tuple([prefix_of_table(table, using) for table in names])
        by_table = dict(zip(names, prefixes, strict=True))
        coarse = [each.coarse for each in self.row_level]
        return self._memoized(
            ("version_set", prefixes, len(coarse)),
            lambda: VersionSet(by_table.__getitem__, self.dependencies, coarse=coarse),
        )

    def row_resolver(self, vendor: str) -> Callable[..., RowsByDependency] | None:
        """Return a function from the result's rows to its row-level dependencies, None if it has none."""
        return partial(row_dependencies.resolve_rows, self.row_level, vendor=vendor) if self.row_level else None

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

    def _memoized(self, key: Hashable, make: Callable[[], Any]) -> Any:
        memo = self.memo
        if key not in memo:
            if len(memo) >= MAX_MEMO_ENTRIES:
                memo.clear()
            memo[key] = make()
        return memo[key]
