"""Report whether a read would come from the cache, and why or why not, without reading or storing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import QuerySet

from ..conf import ALL_OPS
from ..observe import Bypass, CacheReport, Reason, counters
from ..query import RowLevelDependency, compiler
from ..schema import Dependency
from ..store import call_or_default, dependency_in_words, invalidator, near, protocol
from ..writes import unit_of_work_for
from .cache_entry import CacheEntry
from .cache_policy import CachePolicy, active_policy, pin_database, policy_of
from .cacheable_read import CacheableRead
from .origin import Origin
from .point_lookup import only_condition, point_entry
from .queryset_read import aggregates_kind, cacheable_read, entry_of, rows_read


def explain_queryset(queryset: Any, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CacheReport:
    """Return the report on `operation` of a queryset.  Raises ValueError for an unknown operation."""
    if operation not in ALL_OPS:
        raise ValueError(f"operation is {operation!r}; it should be one of {', '.join(sorted(ALL_OPS))}")
    queryset = pin_database(queryset)
    profile = _profile_in_words(policy_of(queryset))
    report = CacheReport(operation, queryset.model._meta.label, profile, Reason.NOT_STORED)
    found = entry_or_bypass(queryset, operation, args, kwargs)
    if isinstance(found, Bypass):
        report.reason, report.detail = found.reason, found.detail
    else:
        entry, dependencies = found
        report.dependencies = sorted(set(dependencies))
        _look_up(report, entry)
    return report


def explain_call(
    func: Callable[..., Any], found: CacheEntry | Bypass, profile: str, dependencies: Iterable[Dependency]
) -> CacheReport:
    """Return the report on a call of a decorated function, whose cache entry or bypass is `found`."""
    report = CacheReport("call", counters.label_of(func), profile, Reason.NOT_STORED)
    if isinstance(found, Bypass):
        report.reason, report.detail = found.reason, found.detail
    else:
        report.dependencies = sorted(map(_dependency_in_words, dependencies))
        _look_up(report, found)
    return report


def entry_or_bypass(
    queryset: Any, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[CacheEntry, list[str]] | Bypass:
    """Return the cache entry of an operation and its dependencies in words, or why it can't be cached now."""
    policy = active_policy(queryset, operation)
    if operation == "get" and not policy:
        policy = active_policy(queryset, "fetch") or policy
    if isinstance(policy, Bypass):
        return policy
    if operation == "get":
        condition = only_condition(args, kwargs)
        found = None if condition is None else point_entry(queryset, policy, condition)
        if found is not None:
            return found[0], [_dependency_in_words(each) for each in found[1]]
        queryset = queryset.filter(*args, **kwargs) if args or kwargs else queryset
    read = _read(queryset, policy, operation, kwargs)
    if isinstance(read, Bypass):
        return read
    row_level = {each.coarse: each for each in read.row_level}
    dependencies = []
    for each in read.dependencies:
        replaced = row_level.get(each)
        dependencies += [_dependency_in_words(each)] if replaced is None else _row_level_in_words(replaced)
    return entry_of(queryset, read, policy, operation, kwargs), dependencies


def entry_of_origin(origin: Origin) -> tuple[CacheEntry, list[str]] | None:
    """Return the cache entry of the read that `origin` tells, its dependencies in words; None if it has none."""
    queryset: Any = origin.queryset
    policy = None if queryset is None else policy_of(queryset)
    if policy is None:
        return None
    # The value may come from cache(), which the profile does not show.
    queryset = queryset.all()
    queryset._cacheops_policy = CachePolicy(ALL_OPS, policy.timeout, False, policy.db_agnostic, is_explicit=True)
    found = entry_or_bypass(queryset, origin.operation, (), dict(origin.arguments))
    return None if isinstance(found, Bypass) else found


def uncached(queryset: Any) -> Any:
    """Return a copy of the queryset that reads from the database, whatever its profile says."""
    queryset = queryset.all()
    queryset._cacheops_policy = CachePolicy(frozenset(), 0, False, True, bypass_reason=Reason.NOCACHE)
    return queryset


def _read(queryset: QuerySet[Any], policy: CachePolicy, operation: str, aggregates: Any) -> CacheableRead | Bypass:
    using = queryset.db
    if operation == "count":
        return cacheable_read(queryset, policy, "count", lambda q, t: compiler.compile_count(q, using, t))
    if operation == "exists":
        return cacheable_read(queryset, policy, "exists", lambda q, t: compiler.compile_exists(q, using, t))
    if operation == "aggregate":
        kind = aggregates_kind(aggregates)
        return cacheable_read(queryset, policy, kind, lambda q, t: compiler.compile_aggregates(q, using, aggregates, t))
    return rows_read(queryset, policy)


def _look_up(report: CacheReport, entry: CacheEntry) -> None:
    report.key = entry.key
    if entry.near is not None:
        report.near = near.describe(entry.key)
    if invalidator.is_refused():
        report.reason = Reason.REDIS_AWAY
        return
    found = call_or_default(lambda: protocol.peek(entry.key, entry.version_set), None)
    if found is None:
        report.reason = Reason.REDIS_AWAY
        return
    lookup, report.seconds_left = found
    if isinstance(lookup.payload, bytes):
        report.reason = Reason.HIT
    elif any(unit_of_work_for(using).pins_snapshot for using in entry.databases):
        report.reason = Reason.SNAPSHOT_PINNED
    elif lookup.is_unsigned:
        report.reason = Reason.INVALID_SIGNATURE
    elif lookup.is_outdated:
        report.reason = Reason.INVALIDATED


def _profile_in_words(policy: CachePolicy | None) -> str:
    if policy is None:
        return "none"
    ops = ", ".join(sorted(policy.ops)) or "no operations"
    options = [name for name in ("lock", "local_get") if getattr(policy, name)]
    if policy.near:
        options.append("near" if policy.near is True else "near (relaxed)")
    return ", ".join([ops, f"timeout {policy.timeout} s", *options])


def _dependency_in_words(dependency: Dependency) -> str:
    return dependency_in_words(dependency.table, dependency.conditions, dependency.columns)


def _row_level_in_words(row_level: RowLevelDependency) -> list[str]:
    found = [
        f"{_dependency_in_words(each.dependency)}, up to the slice's last one by {each.bound.column}"
        for each in row_level.bounded
    ]
    if row_level.sources or row_level.narrowed:
        coarse = _dependency_in_words(row_level.coarse)
        found.append(coarse.replace(": any row", ": the joined rows of the result", 1))
    return found
