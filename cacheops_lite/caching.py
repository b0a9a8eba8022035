"""Whether and how reads of a queryset are cached, and the way of such a read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, ImproperlyConfigured
from django.db.models import QuerySet

from . import compiled, rows
from .compiled import Compiled
from .conf import model_profile, settings
from .dependencies import Uncacheable
from .keys import digest, value_key
from .prefixes import prefix_of, prefix_of_table
from .reading import Target, read_through
from .store import MISS, Basis
from .transaction import recorder_for

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


def caching_of(queryset: QuerySet[Any]) -> Caching | None:
    """How `queryset` is cached, None for a model without a profile."""
    caching = queryset.__dict__.get("_cacheops_caching")
    if caching is None:
        profile = model_profile(queryset.model)
        if profile is None:
            return None
        caching = Caching(profile.ops, profile.timeout, profile.lock, profile.db_agnostic, profile.local_get)
    return caching


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


def caches(queryset: Any, op: str) -> Caching | None:
    """How to cache `op` of `queryset` here and now, None if not at all."""
    if not settings.CACHEOPS_ENABLED:
        return None
    caching = caching_of(queryset)
    if caching is None or op not in caching.ops or queryset._for_write:
        return None
    if queryset.query.select_for_update or recorder_for(queryset.db).is_dirty:
        return None
    return caching


def target_of(queryset: QuerySet[Any], read: Compiled, caching: Caching) -> Target:
    """Where the result of `read` is kept."""
    using = queryset.db
    name = read.name if caching.db_agnostic else digest(read.name, using)
    tables = sorted({dependency.table for dependency in read.dependencies})
    return Target(
        key=value_key(prefix_of(dbs=[using], tables=tables), name),
        basis=Basis(lambda table: prefix_of_table(table, using), read.dependencies),
        databases=(using,),
        timeout=caching.timeout,
        lock=caching.lock,
        sender=queryset.model,
    )


def _compiled(queryset: QuerySet[Any], caching: Caching, compile_read: Callable[[], Compiled]) -> Compiled | None:
    """The read, or None if it can't or should not be cached."""
    try:
        read = compile_read()
    except EmptyResultSet:
        return None
    except Uncacheable as reason:
        logger.info("A query of %s is not cached: %s", queryset.model._meta.label, reason)
        return None
    return read if caching.asked_for or not read.volatile else None


def value(
    queryset: QuerySet[Any],
    op: str,
    compile_read: Callable[[], Compiled],
    compute: Callable[[], Any],
) -> Any:
    """The single value that `compute` gets from the database, through the cache."""
    caching = caches(queryset, op)
    read = _compiled(queryset, caching, compile_read) if caching else None
    if caching is None or read is None:
        return compute()

    def compute_both() -> tuple[Any, Any]:
        value = compute()
        return value, value

    return read_through(target_of(queryset, read, caching), compute_both, lambda value: value)


def fetch(queryset: QuerySet[Any]) -> list[Any] | None:
    """The results of `queryset` through the cache, None if they should not be cached."""
    caching = caches(queryset, "fetch")
    if caching is None:
        return None
    read = _compiled(queryset, caching, lambda: compiled.compile_rows(queryset))
    if read is None:
        return None

    def compute() -> tuple[Any, Any]:
        capture = rows.Capture()
        results = capture.results(queryset)
        return results, MISS if capture.rows is None else capture.rows

    return read_through(
        target_of(queryset, read, caching),
        compute,
        lambda stored: rows.replay(queryset, read.compiler, stored),
    )
