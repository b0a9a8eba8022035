"""Find the dependencies of a compiled query: which rows of which tables its result depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db.models.sql.constants import LOUTER
from django.db.models.sql.query import Query

from ..observe import Reason
from ..schema import (
    ANY,
    INEXACT,
    MEETS_NULL,
    NULL,
    Condition,
    Conjunction,
    Dependency,
    base_tables_of,
    is_derived,
    is_django_join,
    known_tables,
    share_tokens,
    tracked_columns,
)
from ..sql import cte_names, quoted_tables, tables_in_opaque_sql
from .query_walk import ColumnsByAlias, QueryWalk, Uncacheable
from .where_predicates import formula

# The most derived conditions of one dependency.
MAX_DERIVED_CONDITIONS = 6


def models_of(tables: Iterable[str]) -> str:
    """Return the labels of the tables' models, in words; the names of tables that have none."""
    labels = {model._meta.db_table: model._meta.label for model in apps.get_models(include_auto_created=True)}
    return ", ".join(sorted(labels.get(table, f"the table {table}") for table in tables))


def dependencies_of(walk: QueryWalk, sql: str) -> set[Dependency]:
    """Return all dependencies of the walked query, whose text is `sql`.  Raises Uncacheable if they are not known."""
    found, foreign = _own_dependencies(walk)
    if foreign:
        raise Uncacheable(Reason.UNKNOWN_TABLE, f"it refers to tables outside of itself: {', '.join(sorted(foreign))}")
    known = {dependency.table for dependency in found}
    # The text may name more tables than the walk found: those that custom expressions read.
    hidden = {Dependency(table, (), None) for table in quoted_tables(sql) - known}
    if walk.has_custom_sql:
        # Common table expressions are not tables.  The tables that they read are in the text as well.
        own = cte_names(sql) - known_tables()
        found = {dependency for dependency in found if dependency.table not in own}
        hidden = {dependency for dependency in hidden if dependency.table not in own}
        # Custom SQL may read a table that the walk found under other conditions.
        named, unknown = tables_in_opaque_sql(sql)
        if unknown:
            raise Uncacheable(Reason.UNKNOWN_TABLE, f"an expression in it reads {', '.join(sorted(unknown))}")
        hidden |= {Dependency(table, (), None) for table in named}
    tables = {dependency.table for dependency in found | hidden}
    hidden |= {Dependency(table, (), None) for table in base_tables_of(tables, walk.compiler.using)}
    tracked = tracked_columns()
    if untracked := {dependency.table for dependency in found | hidden} - set(tracked):
        raise Uncacheable(Reason.TABLE_WITHOUT_PROFILE, models_of(untracked))

    def with_known_columns(dependencies: Iterable[Dependency]) -> set[Dependency]:
        return {_with_known_columns(dependency, tracked[dependency.table]) for dependency in dependencies}

    walk.dependencies_by_alias = {
        alias: with_known_columns(dependencies & found) for alias, dependencies in walk.dependencies_by_alias.items()
    }
    walk.other_dependencies = with_known_columns((walk.other_dependencies & found) | hidden)
    return with_known_columns(found | hidden)


def _with_known_columns(dependency: Dependency, columns: frozenset[str]) -> Dependency:
    """Return the dependency, on any column (None) if it reads all tracked columns of its table."""
    if dependency.columns is None or not columns <= set(dependency.columns):
        return dependency
    return dependency._replace(columns=None)


def _own_dependencies(walk: QueryWalk) -> tuple[set[Dependency], ColumnsByAlias]:
    """Return the dependencies of a query and its inner queries, and the columns of outer queries that it reads."""
    foreign: ColumnsByAlias = {}
    query = walk.query
    if not query.combinator:
        _note_joins(walk)
    for inner in walk.inner_queries:
        inner_found, inner_foreign = _inner_dependencies(walk, inner)
        walk.other_dependencies |= inner_found
        walk.aliases_in_inner_queries |= set(inner_foreign)
        _add_columns(walk.columns, inner_foreign)
    if query.combinator:
        return walk.other_dependencies, foreign
    for alias, columns in walk.columns.items():
        if alias not in query.alias_map:
            foreign[alias] = columns
    conjunctions = ANY
    if not walk.is_custom_query:
        found = formula(walk.compiler.where, walk.compiler.connection.vendor, walk.make_token)
        conjunctions = frozenset(_with_joined_conditions(walk, conjunction) for conjunction in found)
    for alias in walk.live_aliases:
        walk.dependencies_by_alias[alias] = _alias_dependencies(walk, alias, conjunctions)
    walk.other_dependencies |= {Dependency(table, (), None) for table in query.extra_tables}
    return walk.other_dependencies.union(*walk.dependencies_by_alias.values()), foreign


def _inner_dependencies(walk: QueryWalk, query: Query) -> tuple[set[Dependency], ColumnsByAlias]:
    compiler = query.get_compiler(walk.compiler.using)
    inner = QueryWalk(compiler)
    try:
        inner.as_sql()
    except EmptyResultSet:
        # It is always empty and reads no table.
        return set(), {}
    found, foreign = _own_dependencies(inner)
    # Raw SQL in it may read columns of the outer query as well.
    walk.may_read_any_column = walk.may_read_any_column or inner.may_read_any_column
    walk.has_custom_sql = walk.has_custom_sql or inner.has_custom_sql
    walk.depends_on_time_zone = walk.depends_on_time_zone or inner.depends_on_time_zone
    return found, foreign


def _note_joins(walk: QueryWalk) -> None:
    for alias in walk.live_aliases:
        join: Any = walk.query.alias_map[alias]
        if not is_django_join(join):
            walk.may_read_any_column = walk.has_custom_sql = walk.is_custom_query = True
            continue
        if join.parent_alias is None:
            continue
        for left, right in join.join_cols:
            _add_columns(walk.columns, {join.parent_alias: {left}, alias: {right}})
        restriction = join.join_field.get_extra_restriction(alias, join.parent_alias)
        for condition in (restriction, join.filtered_relation):
            if condition is not None:
                walk.note(getattr(condition, "resolved_condition", None) or condition)
                if condition is join.filtered_relation:
                    walk.may_read_any_column = True


def _add_columns(columns: ColumnsByAlias, more: ColumnsByAlias) -> None:
    for alias, names in more.items():
        columns.setdefault(alias, set()).update(names)


def _with_joined_conditions(walk: QueryWalk, conjunction: Conjunction) -> Conjunction:
    """Add what equality across joins implies: with ``a.x = b.y`` and ``a.x = 1`` only rows with ``b.y = 1`` matter."""
    conditions = set(conjunction)
    has_grown = True
    while has_grown:
        has_grown = False
        for alias in walk.live_aliases:
            join: Any = walk.query.alias_map[alias]
            for left, right in _alike_columns(walk, join) if join.parent_alias else ():
                for here, there in (
                    ((join.parent_alias, left), (alias, right)),
                    ((alias, right), (join.parent_alias, left)),
                ):
                    implied = _implied_conditions(conditions, here, there)
                    has_grown = has_grown or not implied <= conditions
                    conditions |= implied
    return frozenset(conditions)


def _alike_columns(walk: QueryWalk, join: Any) -> list[tuple[str, str]]:
    """Return the pairs of joined columns whose equal values have equal tokens, unlike an integer and a text column."""
    vendor = walk.compiler.connection.vendor
    pairs = join.join_field.get_joining_fields()
    return [(str(left.column), str(right.column)) for left, right in pairs if share_tokens(left, right, vendor)]


def _implied_conditions(conditions: set[Condition], here: tuple[str, str], there: tuple[str, str]) -> set[Condition]:
    """Return the conditions on column `there` that follow from those on column `here`, which a join equates."""
    # NULL equals nothing, so a join implies no condition for it.  A loose token is only valid for its own column, and
    # so is a derived one.
    return {
        Condition(*there, condition.token)
        for condition in conditions
        if condition[:2] == here
        and condition.token != NULL
        and not condition.token.startswith(INEXACT)
        and not is_derived(condition.token)
    }


def _alias_dependencies(walk: QueryWalk, alias: str, conjunctions: frozenset[Conjunction]) -> set[Dependency]:
    join = walk.query.alias_map[alias]
    # With an outer join a missing row is shown as NULL.  Any new row that matches the join changes that, so that a
    # condition that NULL meets does not restrict which rows matter.
    is_nullable = join.join_type == LOUTER
    own_conjunctions = {
        frozenset(
            (condition.column, condition.token)
            for condition in conjunction
            if condition.alias == alias
            and not (is_nullable and (condition.token == NULL or condition.token.startswith(MEETS_NULL)))
        )
        for conjunction in conjunctions
    }
    if frozenset() in own_conjunctions:
        own_conjunctions = {frozenset()}
    columns = _columns_read(walk, alias)
    return {
        Dependency(join.table_name, tuple(sorted(_without_excess(conditions))), columns)
        for conditions in own_conjunctions
    }


def _without_excess(conditions: frozenset[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Leave out derived conditions beyond a number, as they make long keys: those of the last columns.

    Which ones does not depend on tokens, so that it is the same for the placeholders of a plan.
    """
    derived = [condition for condition in conditions if is_derived(condition[1])]
    if len(derived) <= MAX_DERIVED_CONDITIONS:
        return conditions
    columns = sorted(column for column, _ in derived)
    first_left_out = columns[MAX_DERIVED_CONDITIONS]
    return [each for each in conditions if not is_derived(each[1]) or each[0] < first_left_out]


def _columns_read(walk: QueryWalk, alias: str) -> tuple[str, ...] | None:
    if walk.may_read_any_column or walk.query.distinct_fields:
        return None
    return tuple(sorted(walk.columns.get(alias, ())))
