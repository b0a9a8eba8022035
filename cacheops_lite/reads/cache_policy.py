"""Whether and how reads of a queryset are cached, and the way of such a read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from django.core.exceptions import EmptyResultSet, ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.sql.query import Query

from ..conf import model_profile, on_change, settings
from ..query import (
    Compiled,
    Composed,
    NoFingerprint,
    NotPlannable,
    RowLevelDependency,
    Tokens,
    Uncacheable,
    fingerprint_of,
    own_tokens,
    plan_cache,
    plan_for,
    row_dependencies,
    row_recorder,
)
from ..query import compiler as query_compiler
from ..schema import Dependency, RowsByDependency, name_in_keys
from ..store import MISS, VersionSet, digest, prefix_of, prefix_of_table, value_key
from ..utils import error_boundary
from ..writes import unit_of_work_for
from .cached_read import Target, is_unstorable, note_unstorable, read_through, stored_rows

# Composes the SQL of a read of a query, with what makes the tokens of its conditions.
CompileRead = Callable[[Query, Tokens], Compiled]

logger = logging.getLogger("cacheops_lite")


@dataclass(frozen=True, slots=True)
class Caching:
    """What of a queryset is cached and how: its model's profile, as changed by ``cache()`` and ``nocache()``."""

    ops: frozenset[str]
    timeout: int
    lock: bool
    db_agnostic: bool
    local_get: bool = False
    # Asked for by cache(): then also what is no function of the data alone.
    asked_for: bool = False


def caching_of(queryset: Any) -> Caching | None:
    """How `queryset` is cached, None for a model without a profile."""
    # Decorators may ask before the app is there.
    return getattr(queryset, "_cacheops_caching", None) or caching_of_model(queryset.model)


@lru_cache(maxsize=1024)
def caching_of_model(model: type[Model]) -> Caching | None:
    """How querysets of `model` are cached if nothing else is said."""
    profile = model_profile(model)
    if profile is None:
        return None
    return Caching(profile.ops, profile.timeout, profile.lock, profile.db_agnostic, profile.local_get)


@on_change
def _forget(setting: str) -> None:
    caching_of_model.cache_clear()


def is_left_out(queryset: Any) -> bool:
    """No op of `queryset` is cached: it should cost next to nothing that we are there."""
    caching = caching_of(queryset)
    return caching is None or not caching.ops


def require_caching(queryset: QuerySet[Any]) -> Caching:
    """How `queryset` is cached.  Raises ImproperlyConfigured for a model without a profile."""
    caching = caching_of(queryset)
    if caching is None:
        options = queryset.model._meta
        raise ImproperlyConfigured(
            f"Cacheops is not enabled for {options.app_label}.{options.model_name} model.\n"
            f"If you don't want to cache anything by default you can configure it with empty ops."
        )
    return caching


def on_one_database(queryset: Any) -> Any:
    """The queryset, or a copy that asks no router again: it may name another database each time."""
    # One that changes in place has no copies.
    if queryset._db is not None or not router.routers or queryset._cacheops_cloning == 0:
        return queryset
    return queryset.using(queryset.db)


def caches(queryset: Any, op: str) -> Caching | None:
    """How to cache `op` of `queryset` here and now, None if not at all."""
    caching = caching_of(queryset)
    if caching is None or op not in caching.ops or queryset._for_write or not settings.CACHEOPS_ENABLED:
        return None
    if queryset.query.select_for_update or unit_of_work_for(queryset.db).is_dirty:
        return None
    return caching


def target_of(queryset: QuerySet[Any], read: Read, caching: Caching) -> Target:
    """Where the result of `read` is kept."""
    using = queryset.db
    name = read.name if caching.db_agnostic else read.name_on(using)
    return Target(
        key=value_key(prefix_of(dbs=[using], tables=read.tables), name),
        version_set=read.version_set(using),
        databases=(using,),
        timeout=caching.timeout,
        lock=caching.lock,
        sender=queryset.model,
        narrow=read.narrow(connections[using].vendor),
        fingerprint=read.fingerprint,
    )


# Where each host or tenant has a prefix of its own there may be many of one read.
MOST_KEPT = 32


@dataclass(slots=True)
class Read:
    """A read that can be cached: `replay` makes results of rows."""

    name: str
    fingerprint: Hashable
    dependencies: Collection[Dependency]
    volatile: bool
    replay: Callable[[QuerySet[Any], Any], list[Any]]
    row_level: Sequence[RowLevelDependency] = ()
    composed: Composed | None = None
    # Where what is made of name and dependencies may be kept for the next time.
    kept: dict[Hashable, Any] = field(default_factory=dict)
    tables: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = self._keep("tables", lambda: sorted({dependency.table for dependency in self.dependencies}))

    def name_on(self, using: str) -> str:
        """What tells it from the same read of other databases."""
        return self._keep(using, lambda: digest(self.name, using))

    def version_set(self, using: str) -> VersionSet:
        """What its result rests on, as Redis keys."""
        names = [*map(name_in_keys, self.tables)]
        prefixes = tuple([prefix_of_table(table, using) for table in names])
        by_table = dict(zip(names, prefixes, strict=True))
        coarse = [each.coarse for each in self.row_level]
        return self._keep(
            ("basis", prefixes, len(coarse)),
            lambda: VersionSet(by_table.__getitem__, self.dependencies, coarse=coarse),
        )

    def narrow(self, vendor: str) -> Callable[[Any], RowsByDependency] | None:
        """What tells, of the rows, what of the coarse dependencies they rest on."""
        return partial(row_dependencies.narrow, self.row_level, vendor=vendor) if self.row_level else None

    def capture(self, queryset: QuerySet[Any]) -> row_recorder.Capture:
        """What is to evaluate `queryset`, which this is the read of, in as little time as can be."""
        composed = self.composed
        if composed is not None:
            try:
                sql_compiler = composed.compiler(queryset.query, queryset.db)
            except Exception as error:
                # Django composes the query itself, and raises its own error if there is one.
                error_boundary.reraise_interrupt(error)
            else:
                if sql_compiler is not None:
                    return row_recorder.Capture(sql_compiler, composed.mutable)
        return row_recorder.Capture()

    def _keep(self, key: Hashable, make: Callable[[], Any]) -> Any:
        kept = self.kept
        if key not in kept:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = make()
        return kept[key]


def _read(
    queryset: QuerySet[Any],
    caching: Caching,
    kind: Hashable,
    compile_read: CompileRead,
    limits: tuple[Any, Any] | None = None,
) -> Read | None:
    """The read of some `kind` (None: one that has no plans), or None if it can't or should not be cached.

    With `limits`, those of the query, their change makes no other kind of read.
    """
    try:
        read = None if kind is None else _planned(queryset, kind, compile_read, limits)
        if read is None:
            found = compile_read(query_compiler.copied(queryset.query), own_tokens)
            sql_compiler = found.compiler
            read = Read(
                name=found.name,
                fingerprint=tuple(found.static),
                dependencies=found.dependencies,
                volatile=found.volatile,
                replay=lambda qs, kept: row_recorder.replay(qs, sql_compiler, kept),
                row_level=row_dependencies.usable(found.row_level, queryset.query.is_sliced),
            )
    except EmptyResultSet:
        return None
    except Uncacheable as reason:
        logger.info("A query of %s is not cached: %s", queryset.model._meta.label, reason)
        return None
    except Exception as error:
        error_boundary.log_failure(
            f"A query of {queryset.model._meta.label} is not cached, as it can't be analysed", error
        )
        return None
    if is_unstorable(read.fingerprint):
        return None
    return read if caching.asked_for or not read.volatile else None


def _planned(
    queryset: QuerySet[Any], kind: Hashable, compile_read: CompileRead, limits: tuple[Any, Any] | None
) -> Read | None:
    """The read by a plan, None if there is none."""
    if not plan_cache.ENABLED:
        return None
    query = queryset.query
    try:
        fingerprint = fingerprint_of(query, limits=limits is None)
        plan = plan_for(
            (kind, queryset.db, fingerprint.key),
            fingerprint,
            lambda tokens: compile_read(_unlimited(query, limits), tokens),
        )
    except (NoFingerprint, NotPlannable):
        return None
    result = plan.result(fingerprint.values, limits or (0, None))
    if result is None:
        return None
    return Read(
        name=result.name,
        fingerprint=plan.static,
        dependencies=result.dependencies,
        volatile=plan.volatile,
        replay=plan.composed.replay,
        row_level=row_dependencies.usable(plan.row_level, query.is_sliced),
        composed=plan.composed,
        kept=result.kept,
    )


def _unlimited(query: Query, limits: tuple[Any, Any] | None) -> Query:
    copy = query_compiler.copied(query)
    if limits is not None:
        copy.clear_limits()
    return copy


def value(
    queryset: QuerySet[Any],
    op: str,
    compile_read: CompileRead,
    compute: Callable[[], Any],
    kind: Hashable,
) -> Any:
    """The single value that `compute` gets from the database, through the cache."""
    caching = caches(queryset, op)
    read = _read(queryset, caching, kind, compile_read) if caching else None
    if caching is None or read is None:
        return compute()

    target = target_of(queryset, read, caching)

    def compute_both() -> tuple[Any, Any]:
        value = compute()
        try:
            for each in value.values() if isinstance(value, dict) else ():
                row_recorder.check_keeps_attributes(each)
        except Exception as error:
            note_unstorable(target, error)
            return value, MISS
        return value, value

    return read_through(target, compute_both, lambda value: value)


def fetch(queryset: QuerySet[Any]) -> list[Any] | None:
    """The results of `queryset` through the cache, None if they should not be cached."""
    caching = caches(queryset, "fetch")
    if caching is None:
        return None
    read = _read_of_rows(queryset, caching)
    if read is None:
        return None

    target = target_of(queryset, read, caching)

    def compute() -> tuple[Any, Any]:
        capture = read.capture(queryset)
        results = capture.results(queryset)
        return results, stored_rows(target, capture)

    replay = read.replay
    return read_through(target, compute, lambda kept: replay(queryset, kept))


def _read_of_rows(queryset: QuerySet[Any], caching: Caching) -> Read | None:
    def compile_read(query: Query, tokens: Tokens) -> Compiled:
        return query_compiler.compile_rows(queryset, query, tokens)

    query: Any = queryset.query
    # An iterable that is not Django's may ask for more than a plan has.
    kind: Any = queryset._iterable_class if row_recorder.is_replayable(queryset) else None
    return _read(queryset, caching, kind, compile_read, (query.low_mark, query.high_mark))
