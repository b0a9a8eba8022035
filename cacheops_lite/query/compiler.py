"""Compile a read: its SQL, the name that it is cached under, and the dependencies of its result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Aggregate, Count, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query

from ..observe import Reason
from ..schema import Dependency, is_django_method, view_definitions
from ..store import digest
from .key_columns import KeyColumns
from .query_walk import QueryWalk, Uncacheable
from .read_identity import active_locale, conversion, conversions, depends_on_locale, parameters_text
from .read_set import dependencies_of
from .row_dependencies import RowLevelDependency, row_level_of
from .where_predicates import MakeToken, token_of_value

# Functions whose result does not depend on the data only: clocks, random values, sequences, sessions.
NON_DETERMINISTIC_SQL = re.compile(
    r"\b(now|rand|random|random_uuid|random_bytes|randomblob|gen_random_bytes|random_normal|nextval|sysdate"
    r"|txid_current|found_rows|row_count|connection_id|pg_backend_pid|changes|total_changes"
    r"|uuid|uuid_short|uuidv4|uuidv7|gen_random_uuid|uuid_generate_v\d\w*|sys_guid|currval|lastval|last_insert_id"
    r"|curdate|curtime|(?:clock|statement|transaction)_timestamp|unix_timestamp|timeofday|utc_\w+|pg_sleep)\s*\("
    r"|\b(current_timestamp|current_date|current_time|current_user|session_user|localtime|localtimestamp)\b"
    r"|'now'|'today'|'tomorrow'|'yesterday'"
    # These use the current time: PostgreSQL's age() with one argument, and SQLite's functions without a time argument.
    r"|\bage\s*\([^,()]*\)"
    r"|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)|\bstrftime\s*\(\s*(%s|\?|'[^']*')\s*\)",
    re.IGNORECASE,
)
# Parameters that mean the current time where SQL converts them to a time.
CLOCK_WORDS = frozenset({"now", "today", "tomorrow", "yesterday"})
TIME_CONVERSION_SQL = re.compile(
    r"::|\bCAST\s*\(|\b(date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\(", re.IGNORECASE
)


@dataclass(slots=True)
class CompiledRead:
    """A compiled read.  Its `name` is unique; `compiler` has composed the SQL and can replay rows of it."""

    compiler: SQLCompiler
    sql: str
    name: str
    dependencies: set[Dependency]
    # The parts of the name that do not depend on parameters, and the number of parameters.
    constant_parts: list[str]
    parameter_count: int
    # A parameter may mean the current time.
    has_clock_parameter: bool
    # Custom fields or expressions may show values by the active language or time zone.
    depends_on_locale: bool
    # The SQL may be another one next time: it depends on the active time zone, or custom expressions compose parts.
    has_variable_sql: bool
    # The dependencies that the result's rows replace by row-level ones; none for single values.
    row_level: tuple[RowLevelDependency, ...] = ()
    # Further columns to select, from which some of these are made.
    key_columns: KeyColumns | None = None

    @property
    def is_non_deterministic(self) -> bool:
        """Whether the SQL, or that of a view it reads, has a clock, random values or the like."""
        texts = view_definitions({each.table for each in self.dependencies}, str(self.compiler.using))
        return self.has_clock_parameter or any(NON_DETERMINISTIC_SQL.search(text) for text in (self.sql, *texts))


def compile_rows(
    queryset: QuerySet[Any], query: Query | None = None, make_token: MakeToken = token_of_value
) -> CompiledRead:
    """Compile the read of the rows of `queryset`.

    `query` is a copy of its query that may be changed, by default a new copy.  Raises Uncacheable; EmptyResultSet if
    the query can have no rows.
    """
    iterable = queryset._iterable_class
    kind = f"rows {iterable.__module__}.{iterable.__qualname__}"
    walk = QueryWalk((query or compilable_copy(queryset.query)).get_compiler(queryset.db), make_token)
    read = _compile_walk(kind, walk)
    is_limited = queryset.query.high_mark is not None
    read.row_level, read.key_columns = row_level_of(walk, read.sql, is_limited)
    return read


def compilable_copy(query: Query) -> Query:
    """Return a copy of a query, made by Django itself, that may be compiled without changing the original."""
    copy: Any = query.chain()
    # Compiling a union adds the columns of its order to its parts, whose dicts the copy shares with the original.
    for part in (copy, *copy.combined_queries) if copy.combinator else ():
        if getattr(part, "selected", None) is not None:
            part.selected = dict(part.selected)
    return copy


def _require_django_methods(query: Query, *methods: str) -> None:
    """Raise Uncacheable if the class of `query` overrides one of `methods`, as its effect is not known."""
    for method in methods:
        if not is_django_method(type(query), method):
            raise Uncacheable(Reason.NOT_ANALYSABLE, f"{type(query).__qualname__} overrides {method}()")


def compile_exists(query: Query, using: str, make_token: MakeToken = token_of_value) -> CompiledRead:
    """Compile ``exists()`` of a query, which may be changed.  Raises Uncacheable or EmptyResultSet."""
    _require_django_methods(query, "exists", "has_results")
    read = _compile_query("exists", query.exists(), using, make_token)
    # The selected constant may be a parameter, which is always the same.
    read.parameter_count -= read.sql.startswith("SELECT %s")
    return read


def compile_count(query: Query, using: str, make_token: MakeToken = token_of_value) -> CompiledRead:
    """Compile ``count()`` of a query, which may be changed.  Raises Uncacheable or EmptyResultSet."""
    _require_django_methods(query, "get_count")
    return compile_aggregates(query, using, {"__count": Count("*")}, make_token)


def compile_aggregates(
    query: Query, using: str, aggregates: Mapping[str, Any], make_token: MakeToken = token_of_value
) -> CompiledRead:
    """Compile ``aggregate(**aggregates)`` of a query, which may be changed.

    Raises Uncacheable or EmptyResultSet, and what Django raises.
    """
    _require_django_methods(query, "get_aggregation")
    query.select_for_update = False
    selects_rows = (
        isinstance(query.group_by, tuple) or query.is_sliced or query.distinct or query.combinator or query.annotations
    )
    if selects_rows:
        # Like Django, as a combined query may have an order that its database does not accept.
        if getattr(query, "orderby_issubset_groupby", True):
            query.clear_ordering(force=False)
        return _compile_query("aggregate", query, using, make_token, _resolve_aggregates(query, aggregates))
    query.clear_select_clause()
    query.clear_ordering(force=True)
    for alias, aggregate in aggregates.items():
        query.add_annotation(aggregate, alias)
    return _compile_query("aggregate", query, using, make_token)


def _resolve_aggregates(query: Query, aggregates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the aggregates over a query that Django makes a subquery of; add the joins that they need to `query`."""
    mask = query.annotation_select_mask
    for alias, aggregate in aggregates.items():
        resolved = aggregate.resolve_expression(query, allow_joins=True, reuse=None, summarize=True)
        # A later aggregate may refer to an earlier one.
        query.append_annotation_mask([alias])
        query.annotations[alias] = resolved
    resolved_by_alias = {alias: query.annotations.pop(alias) for alias in aggregates}
    query.set_annotation_mask(mask)
    return resolved_by_alias


def _compile_query(
    kind: str, query: Query, using: str, make_token: MakeToken, aggregates: Mapping[str, Aggregate] | None = None
) -> CompiledRead:
    return _compile_walk(kind, QueryWalk(query.get_compiler(using), make_token), aggregates)


def _compile_walk(kind: str, walk: QueryWalk, aggregates: Mapping[str, Aggregate] | None = None) -> CompiledRead:
    compiler = walk.compiler
    sql, own_params = walk.as_sql()
    texts = [sql]
    constant_parts = [kind, sql, *conversions(compiler, walk.query)]
    params = list(own_params)
    for alias, aggregate in (aggregates or {}).items():
        walk.note(aggregate)
        aggregate_sql, aggregate_params = compiler.compile(aggregate)
        constant_parts += [alias, aggregate_sql, conversion(aggregate)]
        texts.append(aggregate_sql)
        params += aggregate_params
    shown = [*(each[0] for each in compiler.select or ()), *(aggregates or {}).values()]
    has_locale_values = any(map(depends_on_locale, shown))
    name = digest(*constant_parts, parameters_text(params), active_locale() if has_locale_values else "")
    return CompiledRead(
        compiler=compiler,
        sql=sql,
        name=name,
        dependencies=dependencies_of(walk, " ".join(texts)),
        constant_parts=constant_parts,
        parameter_count=len(params),
        has_clock_parameter=any(isinstance(each, str) and each.strip().lower() in CLOCK_WORDS for each in params)
        and any(map(TIME_CONVERSION_SQL.search, texts)),
        depends_on_locale=has_locale_values,
        has_variable_sql=walk.has_custom_sql or walk.depends_on_time_zone,
    )
