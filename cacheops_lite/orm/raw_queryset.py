"""Cache ``raw()`` querysets on request; they depend on the tables that are given or found in their SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model
from django.db.models.query import RawModelIterable, RawQuerySet
from django.db.models.sql.query import RawQuery

from .. import conf
from ..conf import model_profile, settings
from ..observe import Bypass, Reason, decisions
from ..query import model_layout, parameters_text
from ..reads import CacheEntry, origin, read_through, record_bypass
from ..schema import Dependency, base_tables_of, is_catalog_known, known_tables, tracked_columns, unwrap_memoryview
from ..sql import may_write, tables_read
from ..store import VersionSet, bypass_of_database, digest, prefix_of, prefix_of_table, value_key, value_suffix
from ..utils import Patches, call_or_default
from ..writes import unit_of_work_for


@dataclass(frozen=True, slots=True)
class RawCachePolicy:
    """How a raw query is cached.  `timeout` is in seconds; `tables` are the names of the tables that it reads."""

    timeout: int
    lock: bool
    db_agnostic: bool
    tables: frozenset[str]


class RawQuerySetMixin(RawQuerySet):
    """The methods that are put into `RawQuerySet`."""

    _cacheops_raw: RawCachePolicy | None
    _result_cache: list[Any] | None

    def cache(
        self,
        timeout: int | None = None,
        lock: bool | None = None,
        tables: Iterable[str | type[Model]] | None = None,
    ) -> RawQuerySetMixin:
        """Cache the rows of this query until something is written to one of its tables.

        `tables` are the names of the tables that it reads, or models; by default those that its SQL names.  `timeout`,
        in seconds, and `lock` are taken from the model's profile by default.

        Raises ImproperlyConfigured for a model or table without a profile, for SQL that may write, for SQL whose tables
        are unknown, and for an invalid timeout.
        """
        model: Any = self.model
        profile = model_profile(model)
        where = f"{model._meta.label}: cache() of raw()"
        if profile is None:
            raise ImproperlyConfigured(f"{where}: the model has no profile in CACHEOPS")
        if timeout is not None:
            conf.parse_timeout(timeout, where)
        self._cacheops_raw = RawCachePolicy(
            profile.timeout if timeout is None else timeout,
            profile.lock if lock is None else lock,
            profile.db_agnostic,
            _tables(str(self.raw_query), tables, where, self.db),
        )
        return self

    def nocache(self) -> RawQuerySetMixin:
        """Read from the database; do not cache this query."""
        self._cacheops_raw = None
        return self

    def _clone(self) -> RawQuerySet:
        clone = _patches.original(RawQuerySet, "_clone")(self)
        clone._cacheops_raw = getattr(self, "_cacheops_raw", None)
        return clone

    def _fetch_all(self) -> None:
        policy = getattr(self, "_cacheops_raw", None)
        if self._result_cache is None and decisions.are_recorded():
            _record_bypass(self, policy)
        if self._result_cache is None and policy is not None and _may_read(self.db):
            entry = call_or_default(
                "A raw query is not cached, as it can't be analysed",
                lambda: _cache_entry(self, policy),
                None,
            )
            if entry is not None:
                self._result_cache = read_through(entry, lambda: _read(self), lambda kept: _instances(self, kept))
        _patches.original(RawQuerySet, "_fetch_all")(self)


def _record_bypass(queryset: Any, policy: RawCachePolicy | None) -> None:
    """Count and publish why a raw query will not use the cache; nothing if it will."""
    if policy is None:
        reason = Reason.RAW if model_profile(queryset.model) is not None else Reason.NO_PROFILE
    elif not settings.CACHEOPS_ENABLED:
        reason = Reason.DISABLED
    elif unit_of_work_for(queryset.db).is_dirty:
        reason = Reason.TRANSACTION_HAS_WRITTEN
    elif (bypass := bypass_of_database(queryset.db)) is not None:
        record_bypass(queryset, "raw", bypass)
        return
    else:
        return
    record_bypass(queryset, "raw", Bypass(reason))


def _may_read(using: str) -> bool:
    return settings.CACHEOPS_ENABLED and not unit_of_work_for(using).is_dirty and bypass_of_database(using) is None


def _tables(sql: str, given: Iterable[str | type[Model]] | None, where: str, using: str) -> frozenset[str]:
    if may_write(sql):
        raise ImproperlyConfigured(f"{where}: SQL that may write cannot be cached: {sql}")
    if given is None:
        found = tables_read(sql, known_tables())
        if found is None:
            raise ImproperlyConfigured(f"{where}: the tables that the SQL reads are unknown; pass tables=[...]: {sql}")
        tables = found
    else:
        tables = {table if isinstance(table, str) else table._meta.db_table for table in given}
    # Without the tables behind views the query is not cached, but that is no error in the settings.
    behind = base_tables_of(tables, using) if is_catalog_known(using) else set()
    if untracked := (tables | behind) - set(tracked_columns()):
        raise ImproperlyConfigured(f"{where}: no profile covers the tables {', '.join(sorted(untracked))}")
    return frozenset(tables)


def _cache_entry(queryset: Any, policy: RawCachePolicy) -> CacheEntry | None:
    """Return where the rows of a raw query are cached, None if it reads a table that is not tracked."""
    using = queryset.db
    found = policy.tables | base_tables_of(policy.tables, using)
    if not found <= tracked_columns().keys():
        return None
    tables = sorted(found)
    params = queryset.params or ()
    params = sorted(params.items()) if isinstance(params, dict) else list(params)
    texts = [parameters_text(each) if isinstance(each, tuple) else parameters_text([each]) for each in params]
    layout = model_layout(queryset.model)
    vendor = connections[using].vendor
    name = digest("raw", vendor, "" if policy.db_agnostic else using, queryset.raw_query, layout, *tables, *texts)
    version_set = VersionSet(
        lambda table: prefix_of_table(table, using), [Dependency(table, (), None) for table in tables]
    )
    return CacheEntry(
        key=value_key(prefix_of(dbs=[using], tables=tables), name + value_suffix(using), version_set.tables),
        version_set=version_set,
        databases=(using,),
        timeout=policy.timeout,
        lock=policy.lock,
        sender=queryset.model,
        operation="raw",
        origin=partial(origin.of_text, queryset.model._meta.label, "raw", str(queryset.raw_query), using),
    )


def _read(queryset: Any) -> tuple[list[Any], Any]:
    rows = [tuple(map(unwrap_memoryview, row)) for row in queryset.query]
    kept = list(queryset.query.get_columns()), rows
    return _instances(queryset, kept), kept


def _instances(queryset: Any, kept: Any) -> list[Any]:
    """Return instances made by Django's own iterable; `kept` are the names of columns, and rows."""
    query = queryset.query
    queryset.query = _ReplayedQuery(query, *kept)
    try:
        return list(RawModelIterable(queryset))
    finally:
        queryset.query = query


class _ReplayedQuery(RawQuery):
    """A raw query with rows that were read before."""

    def __init__(self, query: Any, columns: list[str], rows: list[Any]):
        super().__init__(query.sql, query.using, query.params)
        self._columns, self._rows = columns, rows

    def get_columns(self) -> list[str]:
        return list(self._columns)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


_patches = Patches()


def install() -> None:
    """Put the mixin's methods into `RawQuerySet`, as Django has no hook into its reads."""
    _patches.mix_in(RawQuerySet, RawQuerySetMixin)


def uninstall() -> None:
    """Restore Django's own methods."""
    _patches.undo()
