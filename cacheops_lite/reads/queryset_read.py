"""Read a queryset's rows or a single value (count, exists, aggregate) through the cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from django.db.models.sql.query import Query

from ..observe import Bypass, Decision, Reason, decisions
from ..query import (
    CompiledRead,
    MakeToken,
    NoFingerprint,
    NotIdentifiable,
    NotPlannable,
    Uncacheable,
    fingerprint_of,
    identity_of,
    plan_for,
    row_dependencies,
    row_recorder,
    token_of_value,
)
from ..query import compiler as query_compiler
from ..signals import cache_read
from ..store import MISS, bypass_of_database
from ..utils import error_boundary
from . import comparison, origin
from .cache_entry import CacheEntry
from .cache_policy import CachePolicy, active_policy, record_bypass
from .cacheable_read import CacheableRead
from .cached_read import read_through
from .near_hit import near_result
from .unstorable import bypass_of, note_unstorable

# Compiles a read of a query; the second argument makes the tokens of the values in its conditions.
CompileRead = Callable[[Query, MakeToken], CompiledRead]

logger = logging.getLogger("cacheops_lite")

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


def cached_value(
    queryset: QuerySet[Any],
    op: str,
    compile_read: CompileRead,
    compute: Callable[[], Any],
    kind: Hashable,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
) -> Any:
    """Return the single value that `compute` gets from the database, through the cache.

    `op` is the operation in the sense of profiles; `kind` identifies the read among those of equal queries; `arguments`
    are those of ``aggregate()``.
    """
    policy = active_policy(queryset, op)
    if isinstance(policy, Bypass):
        _record(queryset, op, policy)
        return compute()
    read = cacheable_read(queryset, policy, kind, compile_read)
    if isinstance(read, Bypass):
        _record(queryset, op, read)
        return compute()

    if policy.near:
        found = near_result(read.place_on(queryset.db, policy.db_agnostic).key, queryset.model, op)
        if found is not MISS:
            return found
    entry = entry_of(queryset, read, policy, op, arguments)

    def compute_both() -> tuple[Any, Any]:
        value = compute()
        try:
            for each in value.values() if isinstance(value, dict) else ():
                row_recorder.check_pickling_keeps_attributes(each)
        except Exception as error:
            note_unstorable(entry.fingerprint, entry.label, error)
            return value, MISS
        return value, value

    return read_through(entry, compute_both, lambda value: value)


def aggregates_kind(aggregates: Mapping[str, Any]) -> Hashable:
    """Return what identifies a read of these aggregates among those of equal queries, None if they can't be identified.

    Then the read has no plan.
    """
    try:
        kind = tuple((alias, identity_of(aggregate)) for alias, aggregate in aggregates.items())
        hash(kind)
    except (NotIdentifiable, TypeError):
        return None
    return "aggregate", kind


def cached_results(queryset: QuerySet[Any]) -> list[Any] | None:
    """Return the results of `queryset` through the cache, None if they should not be cached."""
    policy = active_policy(queryset, "fetch")
    if isinstance(policy, Bypass):
        _record(queryset, "fetch", policy)
        return None
    read = rows_read(queryset, policy)
    if isinstance(read, Bypass):
        _record(queryset, "fetch", read)
        return None

    replay = read.replay
    if policy.near:
        key = read.place_on(queryset.db, policy.db_agnostic).key
        found = near_result(key, queryset.model, "fetch", lambda rows: replay(queryset, rows))
        if found is not MISS:
            return found
    entry = entry_of(queryset, read, policy, "fetch")

    def compute() -> tuple[Any, Any]:
        capture = read.capture(queryset)
        results = capture.results(queryset)
        if capture.keys is not None and entry.resolve_rows is not None:
            entry.resolve_rows = partial(entry.resolve_rows, keys=capture.keys)
        return results, stored_rows(entry, capture)

    return read_through(entry, compute, lambda rows: replay(queryset, rows))


def _record(queryset: Any, op: str, bypass: Bypass) -> None:
    policy = queryset._cacheops_policy
    if policy is not None and policy.is_explicit and bypass.reason in decisions.DEFEATING:
        # The application asked for caching by cache(), and would not notice that it has no effect.
        decisions.warn_once(Decision(op, queryset.model, bypass.reason, bypass.detail))
    if bypass.reason is Reason.NO_ROWS:
        # As django-cacheops does, which stores such results.
        cache_read.send_robust(sender=queryset.model, func=None, hit=True)
    record_bypass(queryset, op, bypass)


def stored_rows(entry: CacheEntry, capture: row_recorder.Capture) -> Any:
    """Return the captured rows to store, MISS if there are none to store."""
    if capture.error is not None:
        note_unstorable(entry.fingerprint, entry.label, capture.error)
    return MISS if capture.rows is None else capture.rows


def entry_of(
    queryset: QuerySet[Any],
    read: CacheableRead,
    policy: CachePolicy,
    op: str,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
) -> CacheEntry:
    """Return the cache entry of a read; `arguments` are those of ``aggregate()``."""
    using = queryset.db
    key, version_set, prefix = read.place_on(using, policy.db_agnostic)
    return CacheEntry(
        key=key,
        version_set=version_set,
        databases=(using,),
        timeout=policy.timeout,
        lock=policy.lock,
        sender=queryset.model,
        resolve_rows=read.row_resolver(queryset),
        fingerprint=read.fingerprint,
        operation=op,
        origin=partial(origin.of_query, queryset, op, arguments, version_set, prefix, policy.timeout),
        is_same=None if read.is_non_deterministic else partial(comparison.is_same, queryset),
        near=policy.near_options(op, is_rows=op in ("fetch", "get")),
    )


def rows_read(queryset: QuerySet[Any], policy: CachePolicy) -> CacheableRead | Bypass:
    """Return the read of a queryset's rows, or why it can't or should not be cached."""

    def compile_read(query: Query, make_token: MakeToken) -> CompiledRead:
        return query_compiler.compile_rows(queryset, query, make_token)

    query: Any = queryset.query
    # An iterable that is not Django's may use more of a compiler than a plan has.
    kind: Any = queryset._iterable_class if row_recorder.is_replayable(queryset) else None
    return cacheable_read(queryset, policy, kind, compile_read, (query.low_mark, query.high_mark))


def cacheable_read(
    queryset: QuerySet[Any],
    policy: CachePolicy,
    kind: Hashable,
    compile_read: CompileRead,
    limits: tuple[Any, Any] | None = None,
) -> CacheableRead | Bypass:
    """Return the read of this `kind` (None: one that has no plans), or why it can't or should not be cached.

    `limits` are the query's limits if plans do not depend on them, None if they do.
    """
    try:
        read = None if kind is None else _read_from_plan(queryset, kind, compile_read, limits)
        if read is None:
            read = _read_without_plan(queryset, compile_read)
    except EmptyResultSet:
        return Bypass(Reason.NO_ROWS)
    except Uncacheable as found:
        logger.info("A query of %s is not cached: %s", queryset.model._meta.label, found)
        return Bypass(found.reason, found.detail)
    except Exception as error:
        error_boundary.log_failure(
            f"A query of {queryset.model._meta.label} is not cached, as it can't be analysed", error
        )
        return Bypass(Reason.NOT_ANALYSABLE, error_boundary.describe_error(error))
    if (bypass := bypass_of(read.fingerprint)) is not None:
        return bypass
    if read.is_non_deterministic and not policy.is_explicit:
        return Bypass(Reason.NON_DETERMINISTIC)
    # It may ask Redis, so it comes last: a query that can't be cached must not fail with Redis.
    bypass = bypass_of_database(queryset.db)
    return read if bypass is None else bypass


def _read_from_plan(
    queryset: QuerySet[Any], kind: Hashable, compile_read: CompileRead, limits: tuple[Any, Any] | None
) -> CacheableRead | None:
    """Return the read by its query plan, None if it can't have one."""
    query = queryset.query
    try:
        fingerprint = fingerprint_of(query, limits=limits is None)
        plan = plan_for(
            (kind, queryset.db, fingerprint.key),
            fingerprint,
            lambda make_token: compile_read(_without_limits(query, limits), make_token),
        )
    except (NoFingerprint, NotPlannable):
        return None
    result = plan.result_for(fingerprint.values, limits or (0, None))
    if result is None:
        return None
    usable = row_dependencies.usable_for(result.row_level, query.is_sliced)
    name = ("dependencies", len(usable))
    if name not in result.memo:
        result.memo[name] = frozenset(row_dependencies.narrow(result.dependencies, usable))
    return CacheableRead(
        name=result.name,
        fingerprint=plan.fingerprint,
        dependencies=result.memo[name],
        is_non_deterministic=plan.is_non_deterministic,
        replay=plan.sql_template.replay,
        row_level=usable,
        sql_template=plan.sql_template,
        key_columns=plan.key_columns,
        memo=result.memo,
    )


def _read_without_plan(queryset: QuerySet[Any], compile_read: CompileRead) -> CacheableRead:
    compiled = compile_read(query_compiler.compilable_copy(queryset.query), token_of_value)
    sql_compiler = compiled.compiler
    usable = row_dependencies.usable_for(compiled.row_level, queryset.query.is_sliced)
    return CacheableRead(
        name=compiled.name,
        fingerprint=tuple(compiled.constant_parts),
        dependencies=row_dependencies.narrow({each: each for each in compiled.dependencies}, usable),
        is_non_deterministic=compiled.is_non_deterministic,
        replay=lambda qs, rows: row_recorder.replay(qs, sql_compiler, rows),
        row_level=usable,
        key_columns=compiled.key_columns,
    )


def _without_limits(query: Query, limits: tuple[Any, Any] | None) -> Query:
    copy = query_compiler.compilable_copy(query)
    if limits is not None:
        copy.clear_limits()
    return copy
