"""A read as it goes to the database: its SQL, the name that it is cached under and what its result rests on."""

from __future__ import annotations

import datetime
import decimal
import pickle
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models import Aggregate, Count, Field, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query
from django.utils import timezone, translation

from ..schema import Dependency, is_django_method, loads_like_django, target_of, view_definitions
from ..store import FORMAT_VERSION, digest
from ..utils import error_boundary
from .field_identity import field_text
from .read_set import QueryWalk, Uncacheable, dependencies_of
from .row_dependencies import RowLevelDependency, row_level_of
from .where_predicates import Tokens, own_tokens

# What is not a function of the data: the clock, chance, sequences.
VOLATILE = re.compile(
    r"\b(now|rand|random|random_uuid|random_bytes|randomblob|gen_random_bytes|random_normal|nextval|sysdate"
    r"|txid_current|found_rows|row_count|connection_id|pg_backend_pid|changes|total_changes"
    r"|uuid|uuid_short|uuidv4|uuidv7|gen_random_uuid|uuid_generate_v\d\w*|sys_guid|currval|lastval|last_insert_id"
    r"|curdate|curtime|(?:clock|statement|transaction)_timestamp|unix_timestamp|timeofday|utc_\w+|pg_sleep)\s*\("
    r"|\b(current_timestamp|current_date|current_time|current_user|session_user|localtime|localtimestamp)\b"
    r"|'now'|'today'|'tomorrow'|'yesterday'"
    # PostgreSQL's of one argument, and SQLite's that are told nothing: by the time of the moment.
    r"|\bage\s*\([^,()]*\)"
    r"|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)|\bstrftime\s*\(\s*(%s|\?|'[^']*')\s*\)",
    re.IGNORECASE,
)
# What stands for the clock where a parameter is taken for a time.
CLOCKS = frozenset({"now", "today", "tomorrow", "yesterday"})
TAKES_TIMES = re.compile(
    r"::|\bCAST\s*\(|\b(date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\(", re.IGNORECASE
)
# Types whose repr() tells one value from every other one.
TOLD_BY_REPR = (
    *(str, int, float, bool, bytes, type(None), decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)


@dataclass(slots=True)
class Compiled:
    """`name` tells this read from every other one; `compiler` has composed its SQL and can replay rows of it."""

    compiler: SQLCompiler
    sql: str
    name: str
    dependencies: set[Dependency]
    # What does not depend on parameters, and how many of them there are.
    static: list[str]
    parameter_count: int
    # A parameter stands for the clock.
    tells_time: bool
    # What it shows depends on the language or time zone that are active.
    is_shown_by_context: bool
    # It may be composed in another way next time: by the time zone, or by somebody else who has SQL in it.
    is_composed_anew: bool
    # What of the dependencies the rows that come back will narrow; nothing where a single value does.
    row_level: tuple[RowLevelDependency, ...] = ()

    @property
    def volatile(self) -> bool:
        texts = view_definitions({each.table for each in self.dependencies}, str(self.compiler.using))
        return self.tells_time or any(VOLATILE.search(text) for text in (self.sql, *texts))


def compile_rows(queryset: QuerySet[Any], query: Query | None = None, tokens: Tokens = own_tokens) -> Compiled:
    """The read that evaluates `queryset`, or `query`, a copy of its query that may be changed, in its place.

    Raises Uncacheable, or EmptyResultSet when there is nothing to ask.
    """
    iterable = queryset._iterable_class
    kind = f"rows {iterable.__module__}.{iterable.__qualname__}"
    walk = QueryWalk((query or copied(queryset.query)).get_compiler(queryset.db), tokens)
    read = _compile_walk(kind, walk)
    read.row_level = row_level_of(walk)
    return read


def copied(query: Query) -> Query:
    """A copy of a query, as Django itself makes it, that may be composed: this never changes the original."""
    copy: Any = query.chain()
    # Composing a union adds the columns that it sorts by to its parts, which share a dict with those of the original.
    for part in (copy, *copy.combined_queries) if copy.combinator else ():
        if getattr(part, "selected", None) is not None:
            part.selected = dict(part.selected)
    return copy


def _require_django_s(query: Query, *methods: str) -> None:
    """Raise Uncacheable if the class of `query` overrides one of `methods`: what it does instead is not known."""
    for method in methods:
        if not is_django_method(type(query), method):
            raise Uncacheable(f"{type(query).__qualname__} has a {method}() of its own")


def compile_exists(query: Query, using: str, tokens: Tokens = own_tokens) -> Compiled:
    """The read of ``exists()`` of a query, which may be changed.  Raises Uncacheable or EmptyResultSet."""
    _require_django_s(query, "exists", "has_results")
    read = _compile("exists", query.exists(), using, tokens)
    # What it selects is a parameter as well, and always the same.
    read.parameter_count -= read.sql.startswith("SELECT %s")
    return read


def compile_count(query: Query, using: str, tokens: Tokens = own_tokens) -> Compiled:
    """The read of ``count()`` of a query, which may be changed.  Raises Uncacheable or EmptyResultSet."""
    _require_django_s(query, "get_count")
    return compile_aggregates(query, using, {"__count": Count("*")}, tokens)


def compile_aggregates(
    query: Query, using: str, aggregates: Mapping[str, Any], tokens: Tokens = own_tokens
) -> Compiled:
    """The read of ``aggregate(**aggregates)`` of a query, which may be changed.

    Raises Uncacheable or EmptyResultSet, and what Django raises.
    """
    _require_django_s(query, "get_aggregation")
    query.select_for_update = False
    selects_rows = (
        isinstance(query.group_by, tuple) or query.is_sliced or query.distinct or query.combinator or query.annotations
    )
    if selects_rows:
        # As Django does: a combined query may have an order that it can't be in.
        if getattr(query, "orderby_issubset_groupby", True):
            query.clear_ordering(force=False)
        return _compile("aggregate", query, using, tokens, _resolve(query, aggregates))
    query.clear_select_clause()
    query.clear_ordering(force=True)
    for alias, aggregate in aggregates.items():
        query.add_annotation(aggregate, alias)
    return _compile("aggregate", query, using, tokens)


def _resolve(query: Query, aggregates: Mapping[str, Any]) -> dict[str, Any]:
    """The aggregates over a query that Django will make a subquery of; `query` gets the joins they need."""
    mask = query.annotation_select_mask
    for alias, aggregate in aggregates.items():
        resolved = aggregate.resolve_expression(query, allow_joins=True, reuse=None, summarize=True)
        # A later one may refer to an earlier one.
        query.append_annotation_mask([alias])
        query.annotations[alias] = resolved
    resolved_by_alias = {alias: query.annotations.pop(alias) for alias in aggregates}
    query.set_annotation_mask(mask)
    return resolved_by_alias


def _compile(
    kind: str, query: Query, using: str, tokens: Tokens, aggregates: Mapping[str, Aggregate] | None = None
) -> Compiled:
    return _compile_walk(kind, QueryWalk(query.get_compiler(using), tokens), aggregates)


def _compile_walk(kind: str, walk: QueryWalk, aggregates: Mapping[str, Aggregate] | None = None) -> Compiled:
    compiler = walk.compiler
    sql, own_params = walk.as_sql()
    texts = [sql]
    static = [kind, sql, *_converted(compiler, walk.query)]
    params = list(own_params)
    for alias, aggregate in (aggregates or {}).items():
        walk.note(aggregate)
        aggregate_sql, aggregate_params = compiler.compile(aggregate)
        static += [alias, aggregate_sql, _conversion(aggregate)]
        texts.append(aggregate_sql)
        params += aggregate_params
    shown = [*(each[0] for each in compiler.select or ()), *(aggregates or {}).values()]
    is_shown_by_context = any(map(_is_shown_by_context, shown))
    name = digest(*static, parameters(params), context() if is_shown_by_context else "")
    return Compiled(
        compiler=compiler,
        sql=sql,
        name=name,
        dependencies=dependencies_of(walk, " ".join(texts)),
        static=static,
        parameter_count=len(params),
        tells_time=any(isinstance(each, str) and each.strip().lower() in CLOCKS for each in params)
        and any(map(TAKES_TIMES.search, texts)),
        is_shown_by_context=is_shown_by_context,
        is_composed_anew=walk.has_texts or walk.goes_by_zone,
    )


def _is_shown_by_context(expression: Any) -> bool:
    field = expression.target if isinstance(expression, Col) else getattr(expression, "_output_field_or_none", None)
    is_django_s = type(expression).__module__.startswith("django.")
    return not is_django_s or (field is not None and not loads_like_django(field))


def context() -> str:
    """What fields of somebody else's may show values by: the language and the time zone that are active."""
    zone = timezone.get_current_timezone_name() if settings.USE_TZ else ""
    return f"{translation.get_language()} {zone}"


def _converted(compiler: SQLCompiler, query: Query) -> Iterable[str]:
    """What turns columns into values: the same SQL with other fields gives other results."""
    yield f"{FORMAT_VERSION} {compiler.connection.vendor}"
    yield "" if query.model is None else model_layout(query.model)
    for expression, _, alias in compiler.select or ():
        yield f"{alias or ''} {_conversion(expression)}"


def _conversion(expression: Any) -> str:
    if isinstance(expression, Col):
        return _field_identity(expression.output_field)
    output_field, kind = getattr(expression, "_output_field_or_none", None), type(expression)
    own = "" if output_field is None else _field_identity(output_field)
    if not kind.__module__.startswith("django."):
        # It may make something else of values, by what it was told.
        own += f" {kind.__module__}.{kind.__qualname__} {parameters([_made_of(expression)])}"
    return own


def _made_of(part: Any) -> Any:
    """What an expression was made with, without what tells one instance from another that was made alike."""
    if isinstance(part, Field):
        return _field_identity(part)
    if isinstance(part, dict):
        return sorted((name, _made_of(each)) for name, each in part.items())
    if isinstance(part, (list, tuple)):
        return [_made_of(each) for each in part]
    told = getattr(part, "_constructor_args", None)
    return part if told is None else (f"{type(part).__module__}.{type(part).__qualname__}", _made_of(told))


def _field_identity(field: Field[Any, Any]) -> str:
    return field_text(field) if getattr(field, "model", None) is None else _bound_field_identity(field)


@cache
def _bound_field_identity(field: Field[Any, Any]) -> str:
    """What tells the field and what makes its values: another release may have set it up otherwise."""
    target = target_of(field)
    shown_by = "" if target is field else _field_identity(target)
    return f"{field.model._meta.label}.{field.attname} {field_text(field)} {shown_by}"


@cache
def model_layout(model: type[Model]) -> str:
    """A text that changes when the model or its fields do."""
    fields = [_bound_field_identity(field) for field in model._meta.concrete_fields]
    return " ".join([model.__module__, model.__qualname__, *fields])


def parameters(params: Iterable[Any]) -> str:
    """A text that tells these parameters from all others: ``1`` from ``'1'``.  Raises Uncacheable."""
    return repr([_parameter(param) for param in params])


def _parameter(param: Any) -> Any:
    if type(param) in TOLD_BY_REPR:
        return param
    if isinstance(param, memoryview):
        return bytes(param)
    try:
        return type(param).__qualname__, pickle.dumps(param)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        kind = type(param).__qualname__
        raise Uncacheable(
            f"a {kind} among its parameters can't be pickled: {error_boundary.describe_error(error)}"
        ) from error
