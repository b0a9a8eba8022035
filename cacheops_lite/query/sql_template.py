"""Keep the SQL that Django's compiler made, so that later reads of the same fingerprint compose only conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

from .hydrator import with_fast_models
from .row_recorder import Row, iterate, mutable_columns

# Attributes of a compiler that describe its columns; they are set once it has composed its SQL.
COLUMN_ATTRIBUTES = ("select", "klass_info", "annotation_col_map", "col_count", "has_extra_select")


class SqlTemplate:
    """The SQL and the columns of a compiled query, from which compilers for any number of reads are made."""

    def __init__(self, compiler: Any, sql: str):
        self._column_attributes = {name: getattr(compiler, name) for name in COLUMN_ATTRIBUTES}
        self._sql = sql
        # None where a backend's compiler composes SQL in its own way: then no template is used.
        is_plain = type(compiler).as_sql is SQLCompiler.as_sql
        self._where_sql = where_sql(compiler, compiler.where)[0] if is_plain else None

    @cached_property
    def mutable(self) -> list[int]:
        """The positions of columns whose values the application may change in place."""
        return mutable_columns(self._column_attributes["select"])

    def compiler(self, query: Any, using: str) -> Any:
        """Return a compiler for a query of the same fingerprint that composes its conditions only.

        None if these make other SQL, as values do that no column can contain.
        """
        compiler = query.get_compiler(using)
        try:
            conditions, parameters = where_sql(compiler, query.where)
        except EmptyResultSet:
            return None
        if conditions != self._where_sql:
            return None
        sql = self._sql
        if query.is_sliced:
            sql += f" {compiler.connection.ops.limit_offset_sql(query.low_mark, query.high_mark)}"
        # Set on this compiler only, not on its class.
        vars(compiler).update(self._column_attributes, as_sql=lambda: (sql, parameters))
        return compiler

    def replay(self, queryset: QuerySet[Any], rows: Sequence[Row]) -> list[Any]:
        """Return the results of `queryset`, made from `rows` instead of the database."""
        return iterate(queryset, ReplayCompiler(self._column_attributes, rows))


def where_sql(compiler: Any, where: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL of a query's conditions and its parameters.  Raises EmptyResultSet like the compiler."""
    try:
        sql, parameters = compiler.compile(where) if where else ("", ())
    except FullResultSet:
        return "", ()
    return sql, tuple(parameters)


class ReplayCompiler:
    """The part of a compiler that Django's own iterables use, with rows instead of a database."""

    def __init__(self, column_attributes: dict[str, Any], rows: Sequence[Row]):
        self._rows = rows
        self.select, self.annotation_col_map = column_attributes["select"], column_attributes["annotation_col_map"]
        klass_info = column_attributes["klass_info"]
        self.klass_info = None if klass_info is None else with_fast_models(klass_info)

    def execute_sql(self, *args: Any, **kwargs: Any) -> Sequence[Row]:
        return self._rows

    def results_iter(self, *args: Any, **kwargs: Any) -> Iterator[Row]:
        return iter(self._rows)
