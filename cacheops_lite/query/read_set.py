"""From a compiled query to its dependencies: which rows of which tables its result rests on.

The compiler itself tells what it used, through `QueryWalk`, which listens while it composes the SQL; so joins that
``select_related`` and ordering add are seen, and trimmed ones are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.expressions import Col, RawSQL
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import LOUTER
from django.db.models.sql.query import Query
from django.db.models.sql.where import ExtraWhere

from ..schema import (
    ANY,
    INEXACT,
    NULL,
    Condition,
    Conjunction,
    Dependency,
    base_tables_of,
    is_django_join,
    is_django_query,
    known_tables,
    share_tokens,
    tracked_columns,
)
from ..sql import (
    COLUMN_PATTERN,
    cte_names,
    is_composed_by_django,
    is_plain_column,
    may_contain_query,
    quoted_tables,
    tables_in_opaque_sql,
)
from .where_predicates import Tokens, formula, own_tokens

Columns = dict[str, "set[str]"]


class Uncacheable(Exception):
    """The result of a query can't be tied to what it rests on; says why."""


class QueryWalk:
    """Composes a compiler's SQL and notes its live tables, its conditions and the columns that it reads."""

    def __init__(self, compiler: SQLCompiler, tokens: Tokens = own_tokens):
        self.tokens = tokens
        # Its attributes are Django's inner matters, which type stubs leave out.
        self.compiler: Any = compiler
        self.query: Query = compiler.query
        self.live: set[str] = set()
        self.columns: Columns = {}
        # The query, its compiler or one of its joins is of a class that is not Django's, as those of recursive queries:
        # which rows it selects is not known.
        self.is_foreign = not (is_django_query(self.query) and _is_of_backend(compiler))
        # It may read any column; it has SQL of somebody else's, which may read other tables as well.
        self.opaque = self.has_texts = self.is_foreign
        # It depends on the time zone that is active.
        self.goes_by_zone = False
        self.inner: list[Query] = list(self.query.combined_queries)
        self.order_by: Any = ()
        self.group_by: Any = None
        # Filled by `dependencies_of`: by alias, those found elsewhere, and the aliases that inner queries read.
        self.by_alias: dict[str, set[Dependency]] = {}
        self.others: set[Dependency] = set()
        self.bound: set[str] = set()

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """The SQL and its parameters.  Raises EmptyResultSet like the compiler."""
        compiler, setup = self.compiler, self.compiler.pre_sql_setup
        from_clause = compiler.get_from_clause

        def pre_sql_setup(*args: Any, **kwargs: Any) -> Any:
            parts = setup(*args, **kwargs)
            self._note_live()
            _, self.order_by, _ = parts
            self.group_by = self.query.group_by
            for expression in _expressions_of(compiler, *parts):
                self.note(expression)
            return parts

        def get_from_clause() -> Any:
            # DISTINCT ON joins only after the setup.
            self._note_live()
            return from_clause()

        # On this compiler alone: an instance's attribute, gone with it.
        compiler.pre_sql_setup = pre_sql_setup
        compiler.get_from_clause = get_from_clause
        try:
            sql, params = compiler.as_sql()
        finally:
            del compiler.pre_sql_setup, compiler.get_from_clause
        return sql, tuple(params)

    def _note_live(self) -> None:
        counts = self.query.alias_refcount
        self.live.update(alias for alias in self.query.alias_map if counts[alias])

    def note(self, expression: Any) -> None:
        """Note the columns, subqueries and raw SQL within `expression`."""
        if isinstance(expression, Query):
            self.inner.append(expression)
        elif isinstance(expression, Col):
            self.columns.setdefault(expression.alias, set()).add(str(expression.target.column))
            if not is_plain_column(expression):
                self.opaque = self.has_texts = True
        elif isinstance(expression, (RawSQL, ExtraWhere)):
            self._note_raw(expression)
        elif isinstance(expression, (list, tuple, set, frozenset)):
            for part in expression:
                self.note(part)
        else:
            self._note_parts(expression)

    def _note_parts(self, expression: Any) -> None:
        if hasattr(expression, "as_sql") and not is_composed_by_django(expression, self.compiler.connection.vendor):
            self.opaque = self.has_texts = True
        self.goes_by_zone = self.goes_by_zone or hasattr(expression, "get_tzname")
        inner = getattr(expression, "query", None)
        if isinstance(inner, Query):
            self.inner.append(inner)
        for part in _sources(expression):
            self.note(part)
        # A lookup's right hand side is a source only if it is one expression; it may be a list of some.
        right = getattr(expression, "rhs", None)
        if isinstance(right, (list, tuple, set, frozenset)):
            self.note(right)

    def _note_raw(self, expression: RawSQL | ExtraWhere) -> None:
        column = (
            COLUMN_PATTERN.fullmatch(expression.sql)
            if isinstance(expression, RawSQL) and not expression.params
            else None
        )
        if column and column["alias"] in self.query.alias_map:
            # As prefetching many-to-many relations has it.
            self.columns.setdefault(column["alias"], set()).add(column["column"])
            return
        texts = expression.sqls if isinstance(expression, ExtraWhere) else [expression.sql]
        if any(may_contain_query(str(text)) for text in texts):
            raise Uncacheable("raw SQL in it may read tables that can't be told")
        self.opaque = True


def _is_of_backend(compiler: Any) -> bool:
    """The compiler is the one that the database's backend has for such a query."""
    return type(compiler) is compiler.connection.ops.compiler(compiler.query.compiler)


def _expressions_of(compiler: Any, extra_select: Any, order_by: Any, group_by: Any) -> Iterator[Any]:
    query = compiler.query
    for item in [*(compiler.select or ()), *extra_select, *order_by]:
        yield item[0]
    yield from (compiler.where, compiler.having, compiler.qualify)
    if isinstance(query.group_by, tuple):
        yield from query.group_by


def _sources(expression: Any) -> Iterable[Any]:
    sources = getattr(expression, "get_source_expressions", None)
    return [part for part in sources() if part is not None] if sources else ()


def dependencies_of(walk: QueryWalk, sql: str) -> set[Dependency]:
    """All that the result of the walked query rests on.  Raises Uncacheable when that can't be told."""
    found, foreign = _own_dependencies(walk)
    if foreign:
        raise Uncacheable(f"it refers to tables outside of itself: {', '.join(sorted(foreign))}")
    known = {dependency.table for dependency in found}
    # A second look, at the text: whatever an expression of somebody else's reads behind our back.
    hidden = {Dependency(table, (), None) for table in quoted_tables(sql) - known}
    if walk.has_texts:
        # Common table expressions are no tables; what they read stands in the text as well.
        own = cte_names(sql) - known_tables()
        found = {dependency for dependency in found if dependency.table not in own}
        hidden = {dependency for dependency in hidden if dependency.table not in own}
        # One that is known may be read there by other conditions.
        named, unknown = tables_in_opaque_sql(sql)
        if unknown:
            raise Uncacheable(f"an expression in it reads {', '.join(sorted(unknown))}")
        hidden |= {Dependency(table, (), None) for table in named}
    tables = {dependency.table for dependency in found | hidden}
    hidden |= {Dependency(table, (), None) for table in base_tables_of(tables, walk.compiler.using)}
    watched = tracked_columns()
    if unwatched := {dependency.table for dependency in found | hidden} - set(watched):
        raise Uncacheable(f"no profile covers the tables {', '.join(sorted(unwatched))}")

    def whole(dependencies: Iterable[Dependency]) -> set[Dependency]:
        return {_with_all_columns(dependency, watched[dependency.table]) for dependency in dependencies}

    walk.by_alias = {alias: whole(dependencies & found) for alias, dependencies in walk.by_alias.items()}
    walk.others = whole((walk.others & found) | hidden)
    return whole(found | hidden)


def _with_all_columns(dependency: Dependency, columns: frozenset[str]) -> Dependency:
    if dependency.columns is None or not columns <= set(dependency.columns):
        return dependency
    return dependency._replace(columns=None)


def _own_dependencies(walk: QueryWalk) -> tuple[set[Dependency], Columns]:
    """Dependencies of a query and its inner ones, and the columns of outer queries that it reads."""
    foreign: Columns = {}
    query = walk.query
    if not query.combinator:
        _note_joins(walk)
    for inner in walk.inner:
        inner_found, inner_foreign = _inner_dependencies(walk, inner)
        walk.others |= inner_found
        walk.bound |= set(inner_foreign)
        _merge(walk.columns, inner_foreign)
    if query.combinator:
        return walk.others, foreign
    for alias, columns in walk.columns.items():
        if alias not in query.alias_map:
            foreign[alias] = columns
    conjunctions = ANY
    if not walk.is_foreign:
        found = formula(walk.compiler.where, walk.compiler.connection.vendor, walk.tokens)
        conjunctions = frozenset(_with_joined_conditions(walk, conjunction) for conjunction in found)
    for alias in walk.live:
        walk.by_alias[alias] = _alias_dependencies(walk, alias, conjunctions)
    walk.others |= {Dependency(table, (), None) for table in query.extra_tables}
    return walk.others.union(*walk.by_alias.values()), foreign


def _inner_dependencies(walk: QueryWalk, query: Query) -> tuple[set[Dependency], Columns]:
    compiler = query.get_compiler(walk.compiler.using)
    inner = QueryWalk(compiler)
    try:
        inner.as_sql()
    except EmptyResultSet:
        # Constant, whatever the tables hold.
        return set(), {}
    found, foreign = _own_dependencies(inner)
    # Raw SQL in it may read columns of the outer query as well.
    walk.opaque, walk.has_texts = walk.opaque or inner.opaque, walk.has_texts or inner.has_texts
    walk.goes_by_zone = walk.goes_by_zone or inner.goes_by_zone
    return found, foreign


def _note_joins(walk: QueryWalk) -> None:
    for alias in walk.live:
        join: Any = walk.query.alias_map[alias]
        if not is_django_join(join):
            walk.opaque = walk.has_texts = walk.is_foreign = True
            continue
        if join.parent_alias is None:
            continue
        for left, right in join.join_cols:
            _merge(walk.columns, {join.parent_alias: {left}, alias: {right}})
        restriction = join.join_field.get_extra_restriction(alias, join.parent_alias)
        for condition in (restriction, join.filtered_relation):
            if condition is not None:
                walk.note(getattr(condition, "resolved_condition", None) or condition)
                if condition is join.filtered_relation:
                    walk.opaque = True


def _merge(columns: Columns, more: Columns) -> None:
    for alias, names in more.items():
        columns.setdefault(alias, set()).update(names)


def _with_joined_conditions(walk: QueryWalk, conjunction: Conjunction) -> Conjunction:
    """Add what equality across joins implies: with ``a.x = b.y`` and ``a.x = 1`` only rows with ``b.y = 1`` matter."""
    conditions = set(conjunction)
    grown = True
    while grown:
        grown = False
        for alias in walk.live:
            join: Any = walk.query.alias_map[alias]
            for left, right in _alike_columns(walk, join) if join.parent_alias else ():
                for here, there in (
                    ((join.parent_alias, left), (alias, right)),
                    ((alias, right), (join.parent_alias, left)),
                ):
                    new = _carried(conditions, here, there)
                    grown = grown or not new <= conditions
                    conditions |= new
    return frozenset(conditions)


def _alike_columns(walk: QueryWalk, join: Any) -> list[tuple[str, str]]:
    """The columns that a join equates whose values have the same tokens: not an integer and its text, say."""
    vendor = walk.compiler.connection.vendor
    pairs = join.join_field.get_joining_fields()
    return [(str(left.column), str(right.column)) for left, right in pairs if share_tokens(left, right, vendor)]


def _carried(conditions: set[Condition], here: tuple[str, str], there: tuple[str, str]) -> set[Condition]:
    # NULL equals nothing, so that a join carries no condition for it; what else equals a loose one only its column tells.
    return {
        Condition(*there, condition.token)
        for condition in conditions
        if condition[:2] == here and condition.token != NULL and not condition.token.startswith(INEXACT)
    }


def _alias_dependencies(walk: QueryWalk, alias: str, conjunctions: frozenset[Conjunction]) -> set[Dependency]:
    join = walk.query.alias_map[alias]
    # Beside an outer join the null row, too, is an answer, which any row that matches the join takes away.
    nullable = join.join_type == LOUTER
    kept = {
        frozenset(
            (condition.column, condition.token)
            for condition in conjunction
            if condition.alias == alias and not (nullable and condition.token == NULL)
        )
        for conjunction in conjunctions
    }
    if frozenset() in kept:
        kept = {frozenset()}
    columns = _columns_read(walk, alias)
    return {Dependency(join.table_name, tuple(sorted(conditions)), columns) for conditions in kept}


def _columns_read(walk: QueryWalk, alias: str) -> tuple[str, ...] | None:
    if walk.opaque or walk.query.distinct_fields:
        return None
    return tuple(sorted(walk.columns.get(alias, ())))
