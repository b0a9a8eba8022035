"""``raw()`` querysets that are cached where asked for, on the tables that are given or found in their SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model
from django.db.models.query import RawModelIterable, RawQuerySet
from django.db.models.sql.query import RawQuery

from .. import conf
from ..conf import model_profile, settings
from ..query import model_layout, parameters_text
from ..reads import CacheEntry, read_through
from ..schema import Dependency, base_tables_of, is_catalog_known, known_tables, tracked_columns, unwrap_memoryview
from ..sql import may_write, tables_read
from ..store import VersionSet, digest, prefix_of, prefix_of_table, value_key
from ..utils import Patches, call_or_default
from ..writes import unit_of_work_for


@dataclass(frozen=True, slots=True)
class RawCaching:
    """How a raw query is cached.  `timeout` is in seconds."""

    timeout: int
    lock: bool
    db_agnostic: bool
    tables: frozenset[str]


class RawQuerySetMixin(RawQuerySet):
    """What raw querysets get."""

    _cacheops_raw: RawCaching | None
    _result_cache: list[Any] | None

    def cache(
        self,
        timeout: int | None = None,
        lock: bool | None = None,
        tables: Iterable[str | type[Model]] | None = None,
    ) -> RawQuerySetMixin:
        """Cache the rows of this query until something is written to one of its tables.

        `tables` are names of tables, or models, that it reads; by default those that its SQL names.  `timeout`, in
        seconds, and `lock` are as the profile of the model says.  Raises ImproperlyConfigured for a model or table
        without a profile, for SQL that writes or may read what can't be told, and for a timeout that makes no sense.
        """
        model: Any = self.model
        profile = model_profile(model)
        where = f"{model._meta.label}: cache() of raw()"
        if profile is None:
            raise ImproperlyConfigured(f"{where}: the model has no profile in CACHEOPS")
        if timeout is not None:
            conf.parse_timeout(timeout, where)
        self._cacheops_raw = RawCaching(
            profile.timeout if timeout is None else timeout,
            profile.lock if lock is None else lock,
            profile.db_agnostic,
            _tables(str(self.raw_query), tables, where, self.db),
        )
        return self

    def nocache(self) -> RawQuerySetMixin:
        """Don't cache this query."""
        self._cacheops_raw = None
        return self

    def _clone(self) -> RawQuerySet:
        clone = _patches.original(RawQuerySet, "_clone")(self)
        clone._cacheops_raw = getattr(self, "_cacheops_raw", None)
        return clone

    def _fetch_all(self) -> None:
        caching = getattr(self, "_cacheops_raw", None)
        if self._result_cache is None and caching is not None and _may_read(self.db):
            target = call_or_default(
                "A raw query is not cached, as it can't be analysed",
                lambda: _target(self, caching),
                None,
            )
            if target is not None:
                self._result_cache = read_through(target, lambda: _computed(self), lambda kept: _made(self, kept))
        _patches.original(RawQuerySet, "_fetch_all")(self)


def _may_read(using: str) -> bool:
    return settings.CACHEOPS_ENABLED and not unit_of_work_for(using).is_dirty


def _tables(sql: str, given: Iterable[str | type[Model]] | None, where: str, using: str) -> frozenset[str]:
    if may_write(sql):
        raise ImproperlyConfigured(f"{where}: what may write can't be cached: {sql}")
    if given is None:
        found = tables_read(sql, known_tables())
        if found is None:
            raise ImproperlyConfigured(f"{where}: name the tables that it reads, as its SQL does not tell: {sql}")
        tables = found
    else:
        tables = {table if isinstance(table, str) else table._meta.db_table for table in given}
    # What can't be known is no fault of the settings: then the query is not cached.
    behind = base_tables_of(tables, using) if is_catalog_known(using) else set()
    if unwatched := (tables | behind) - set(tracked_columns()):
        raise ImproperlyConfigured(f"{where}: no profile covers the tables {', '.join(sorted(unwatched))}")
    return frozenset(tables)


def _target(queryset: Any, caching: RawCaching) -> CacheEntry | None:
    """Where the rows of a raw query are kept, None if it reads a table that is not watched."""
    using = queryset.db
    found = caching.tables | base_tables_of(caching.tables, using)
    if not found <= tracked_columns().keys():
        return None
    tables = sorted(found)
    params = queryset.params or ()
    params = sorted(params.items()) if isinstance(params, dict) else list(params)
    told = [parameters_text(each) if isinstance(each, tuple) else parameters_text([each]) for each in params]
    layout = model_layout(queryset.model)
    vendor = connections[using].vendor
    name = digest("raw", vendor, "" if caching.db_agnostic else using, queryset.raw_query, layout, *tables, *told)
    return CacheEntry(
        key=value_key(prefix_of(dbs=[using], tables=tables), name),
        version_set=VersionSet(
            lambda table: prefix_of_table(table, using), [Dependency(table, (), None) for table in tables]
        ),
        databases=(using,),
        timeout=caching.timeout,
        lock=caching.lock,
        sender=queryset.model,
    )


def _computed(queryset: Any) -> tuple[list[Any], Any]:
    rows = [tuple(map(unwrap_memoryview, row)) for row in queryset.query]
    kept = list(queryset.query.get_columns()), rows
    return _made(queryset, kept), kept


def _made(queryset: Any, kept: Any) -> list[Any]:
    """Instances of columns and rows, by Django's own iterable."""
    query = queryset.query
    queryset.query = _Replayed(query, *kept)
    try:
        return list(RawModelIterable(queryset))
    finally:
        queryset.query = query


class _Replayed(RawQuery):
    """A raw query whose rows are there already."""

    def __init__(self, query: Any, columns: list[str], rows: list[Any]):
        super().__init__(query.sql, query.using, query.params)
        self._columns, self._rows = columns, rows

    def get_columns(self) -> list[str]:
        return list(self._columns)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


_patches = Patches()


def install() -> None:
    """Give raw querysets these methods: Django has no hook into their reads."""
    _patches.mix_in(RawQuerySet, RawQuerySetMixin)


def uninstall() -> None:
    """Give them their own back."""
    _patches.undo()
