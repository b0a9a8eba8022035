"""Compose a query's SQL and note what the compiler uses: tables, columns, subqueries and raw SQL.

Noting it while the compiler works includes joins that ``select_related`` and ordering add, and excludes trimmed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models.expressions import Col, RawSQL
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query
from django.db.models.sql.where import ExtraWhere

from ..observe import Bypass, Reason
from ..schema import Dependency, is_django_query
from ..sql import COLUMN_PATTERN, is_composed_by_django, is_plain_column, may_contain_query
from .where_predicates import MakeToken, token_of_value

ColumnsByAlias = dict[str, "set[str]"]


class Uncacheable(Exception):
    """The dependencies of a query's result can't be determined.  Arguments: a `Reason` and a detail."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return str(Bypass(self.reason, self.detail))


class QueryWalk:
    """Composes a compiler's SQL and notes its live aliases, its conditions and the columns that it reads."""

    def __init__(self, compiler: SQLCompiler, make_token: MakeToken = token_of_value):
        self.make_token = make_token
        # Any, as type stubs lack its internal attributes.
        self.compiler: Any = compiler
        self.query: Query = compiler.query
        self.live_aliases: set[str] = set()
        self.columns: ColumnsByAlias = {}
        # The query, its compiler or one of its joins is of a class that is not Django's, as in packages for recursive
        # queries: which rows it selects is not known.
        self.is_custom_query = not (is_django_query(self.query) and _is_of_backend(compiler))
        # It may read any column of its tables.
        self.may_read_any_column = self.is_custom_query
        # It has SQL that Django did not compose, which may read other tables as well.
        self.has_custom_sql = self.is_custom_query
        # Its SQL depends on the active time zone.
        self.depends_on_time_zone = False
        self.inner_queries: list[Query] = list(self.query.combined_queries)
        self.order_by: Any = ()
        self.group_by: Any = None
        # What the FROM clause consists of, and its parameters.
        self.from_clause: tuple[list[str], Any] = ([], ())
        # `dependencies_of` sets these: dependencies by alias, all others, and the aliases that inner queries read.
        self.dependencies_by_alias: dict[str, set[Dependency]] = {}
        self.other_dependencies: set[Dependency] = set()
        self.aliases_in_inner_queries: set[str] = set()

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL and its parameters.  Raises EmptyResultSet like the compiler."""
        compiler, setup = self.compiler, self.compiler.pre_sql_setup
        from_clause = compiler.get_from_clause

        def pre_sql_setup(*args: Any, **kwargs: Any) -> Any:
            parts = setup(*args, **kwargs)
            self._note_live_aliases()
            _, self.order_by, _ = parts
            self.group_by = self.query.group_by
            for expression in _expressions_of(compiler, *parts):
                self.note(expression)
            return parts

        def get_from_clause() -> Any:
            # DISTINCT ON adds its joins after the setup.
            self._note_live_aliases()
            self.from_clause = from_clause()
            return self.from_clause

        # Set on this compiler only, not on its class.
        compiler.pre_sql_setup = pre_sql_setup
        compiler.get_from_clause = get_from_clause
        try:
            sql, params = compiler.as_sql()
        finally:
            del compiler.pre_sql_setup, compiler.get_from_clause
        return sql, tuple(params)

    def _note_live_aliases(self) -> None:
        counts = self.query.alias_refcount
        self.live_aliases.update(alias for alias in self.query.alias_map if counts[alias])

    def note(self, expression: Any) -> None:
        """Note the columns, subqueries and raw SQL within `expression`."""
        if isinstance(expression, Query):
            self.inner_queries.append(expression)
        elif isinstance(expression, Col):
            self.columns.setdefault(expression.alias, set()).add(str(expression.target.column))
            if not is_plain_column(expression):
                self.may_read_any_column = self.has_custom_sql = True
        elif isinstance(expression, (RawSQL, ExtraWhere)):
            self._note_raw(expression)
        elif isinstance(expression, (list, tuple, set, frozenset)):
            for part in expression:
                self.note(part)
        else:
            self._note_parts(expression)

    def _note_parts(self, expression: Any) -> None:
        if hasattr(expression, "as_sql") and not is_composed_by_django(expression, self.compiler.connection.vendor):
            self.may_read_any_column = self.has_custom_sql = True
        self.depends_on_time_zone = self.depends_on_time_zone or hasattr(expression, "get_tzname")
        inner = getattr(expression, "query", None)
        if isinstance(inner, Query):
            self.inner_queries.append(inner)
        for part in _source_expressions(expression):
            self.note(part)
        # The source expressions of a lookup lack its right hand side if that is a list of expressions.
        rhs = getattr(expression, "rhs", None)
        if isinstance(rhs, (list, tuple, set, frozenset)):
            self.note(rhs)

    def _note_raw(self, expression: RawSQL | ExtraWhere) -> None:
        column = (
            COLUMN_PATTERN.fullmatch(expression.sql)
            if isinstance(expression, RawSQL) and not expression.params
            else None
        )
        if column and column["alias"] in self.query.alias_map:
            # Django adds such a column when it prefetches a many-to-many relation.
            self.columns.setdefault(column["alias"], set()).add(column["column"])
            return
        texts = expression.sqls if isinstance(expression, ExtraWhere) else [expression.sql]
        if any(may_contain_query(str(text)) for text in texts):
            raise Uncacheable(Reason.UNKNOWN_TABLE, "its raw SQL may read tables that can't be determined")
        self.may_read_any_column = True


def _is_of_backend(compiler: Any) -> bool:
    """Return whether the compiler's class is the one that the database's backend has for such a query."""
    return type(compiler) is compiler.connection.ops.compiler(compiler.query.compiler)


def _expressions_of(compiler: Any, extra_select: Any, order_by: Any, group_by: Any) -> Iterator[Any]:
    query = compiler.query
    for item in [*(compiler.select or ()), *extra_select, *order_by]:
        yield item[0]
    yield from (compiler.where, compiler.having, compiler.qualify)
    if isinstance(query.group_by, tuple):
        yield from query.group_by


def _source_expressions(expression: Any) -> Iterable[Any]:
    sources = getattr(expression, "get_source_expressions", None)
    return [part for part in sources() if part is not None] if sources else ()
