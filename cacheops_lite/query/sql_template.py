"""What a compiler made of a query, kept for the next reads of its fingerprint: they compose no SQL, hit or miss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

from .hydrator import hydrated
from .row_recorder import Row, iterate, mutable_of

# What a compiler knows of its columns once it has composed its SQL.
OF_COLUMNS = ("select", "klass_info", "annotation_col_map", "col_count", "has_extra_select")


class Composed:
    """What Django's own iterables ask of a compiler that has composed its SQL, for as many reads as one likes."""

    def __init__(self, compiler: Any, sql: str):
        self._of_columns = {name: getattr(compiler, name) for name in OF_COLUMNS}
        self._sql = sql
        # None where a backend composes in its own way.
        is_plain = type(compiler).as_sql is SQLCompiler.as_sql
        self._conditions = conditions_of(compiler, compiler.where)[0] if is_plain else None

    @cached_property
    def mutable(self) -> list[int]:
        """The positions of columns whose values may be changed in place."""
        return mutable_of(self._of_columns["select"])

    def compiler(self, query: Any, using: str) -> Any:
        """One that composes no more of a query of that fingerprint than its conditions; None if that is not enough."""
        compiler = query.get_compiler(using)
        try:
            conditions, parameters = conditions_of(compiler, query.where)
        except EmptyResultSet:
            return None
        if conditions != self._conditions:
            return None
        sql = self._sql
        if query.is_sliced:
            sql += f" {compiler.connection.ops.limit_offset_sql(query.low_mark, query.high_mark)}"
        # On this compiler alone.
        vars(compiler).update(self._of_columns, as_sql=lambda: (sql, parameters))
        return compiler

    def replay(self, queryset: QuerySet[Any], rows: Sequence[Row]) -> list[Any]:
        """The results of `queryset`, from `rows` instead of the database."""
        return iterate(queryset, Replaying(self._of_columns, rows))


def conditions_of(compiler: Any, where: Any) -> tuple[str, tuple[Any, ...]]:
    """The SQL of a query's conditions and its parameters.  Raises EmptyResultSet like the compiler."""
    try:
        sql, parameters = compiler.compile(where) if where else ("", ())
    except FullResultSet:
        return "", ()
    return sql, tuple(parameters)


class Replaying:
    """What Django's own iterables ask of a compiler, with rows at hand."""

    def __init__(self, of_columns: dict[str, Any], rows: Sequence[Row]):
        self._rows = rows
        self.select, self.annotation_col_map = of_columns["select"], of_columns["annotation_col_map"]
        klass_info = of_columns["klass_info"]
        self.klass_info = None if klass_info is None else hydrated(klass_info)

    def execute_sql(self, *args: Any, **kwargs: Any) -> Sequence[Row]:
        return self._rows

    def results_iter(self, *args: Any, **kwargs: Any) -> Iterator[Row]:
        return iter(self._rows)
