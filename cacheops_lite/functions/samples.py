"""Samples: the querysets, models and instances that results of functions and views are cached like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from ..conf import derivations, parse_timeout, settings
from ..query import Uncacheable, compiler
from ..reads import CacheEntry, require_policy
from ..schema import Dependency, name_in_keys
from ..store import VersionSet, digest, function_serializer, prefix_of, prefix_of_table, value_key
from ..utils import error_boundary
from ..writes import is_dirty
from .call_key import told

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How results are kept: `timeout` is in seconds."""

    timeout: int
    lock: bool
    db_agnostic: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """What the samples are on some databases: names that tell them from others, and what results like them rest on."""

    names: list[str]
    dependencies: set[Dependency]

    @property
    def tables(self) -> list[str]:
        return sorted({dependency.table for dependency in self.dependencies})


class Samples:
    """The samples of one decorator; what results rest on is found out when first needed, as they may come at import."""

    def __init__(self, querysets: Sequence[QuerySet[Any]], options: Options):
        self.querysets = querysets
        self.options = options
        self._found = lru_cache(maxsize=1)(self._find)
        self._version_set = lru_cache(maxsize=16)(self._make_version_set)

    @classmethod
    def of(cls, samples: Sequence[Any], timeout: int | None, lock: bool | None, where: str) -> Samples:
        """Those of a decorator.  Raises TypeError for a wrong one or none, ImproperlyConfigured without a profile."""
        if not samples:
            raise TypeError("Pass a queryset, a model or an object to cache like")
        querysets = [_queryset(sample) for sample in samples]
        profiles = [require_policy(queryset) for queryset in querysets]
        if timeout is not None:
            parse_timeout(timeout, where)
        options = Options(
            timeout=min(profile.timeout for profile in profiles) if timeout is None else timeout,
            lock=any(profile.lock for profile in profiles) if lock is None else lock,
            db_agnostic=all(profile.db_agnostic for profile in profiles),
        )
        return cls(querysets, options)

    @property
    def databases(self) -> tuple[str, ...]:
        return tuple(sorted({queryset.db for queryset in self.querysets}))

    def target(self, func: Function, name: Callable[[], str]) -> CacheEntry | None:
        """Where the result of `func` called `name()` is kept, None if it can't be cached here and now."""
        databases = self.databases
        if not settings.CACHEOPS_ENABLED or is_dirty(databases):
            return None
        derived = derivations()
        found = self._found(databases, derived)
        if found is None:
            return None
        tables = found.tables
        prefixes = tuple(prefix_of_table(name_in_keys(table), databases[0]) for table in tables)
        prefix = prefix_of(func, databases, tables)
        serializer = function_serializer()
        return CacheEntry(
            key=value_key(prefix, digest("as", *found.names, name())),
            version_set=self._version_set(databases, derived, prefixes),
            databases=databases,
            timeout=self.options.timeout,
            lock=self.options.lock,
            func=func,
            dumps=serializer.dumps,
            loads=serializer.loads,
        )

    def _find(self, databases: tuple[str, ...], derived: int) -> _Found | None:
        found = _Found([] if self.options.db_agnostic else list(databases), set())
        for queryset in self.querysets:
            try:
                read = compiler.compile_rows(queryset.all())
                prefetched = told([*queryset._prefetch_related_lookups])  # type: ignore[attr-defined]
            except EmptyResultSet:
                # Which of them it is counts as well.
                found.names.append("")
                continue
            except Exception as error:
                if not isinstance(error, (Uncacheable, TypeError)):
                    error_boundary.log_failure("What a function is cached like can't be analysed", error)
                return None
            found.names.append(f"{read.name} {prefetched}")
            found.dependencies.update(read.dependencies)
        return found

    def _make_version_set(self, databases: tuple[str, ...], derived: int, prefixes: tuple[str, ...]) -> VersionSet:
        found = self._found(databases, derived)
        assert found is not None
        by_table = dict(zip(map(name_in_keys, found.tables), prefixes, strict=True))
        return VersionSet(by_table.__getitem__, found.dependencies)


def _queryset(sample: Any) -> QuerySet[Any]:
    if isinstance(sample, Model):
        if sample.pk is None:
            raise TypeError(f"Can't cache like {sample!r}: it is not saved")
        return sample.__class__._base_manager.filter(pk=sample.pk)
    if isinstance(sample, type) and issubclass(sample, Model):
        return sample._default_manager.all()
    if isinstance(sample, BaseManager):
        return sample.all()
    if isinstance(sample, QuerySet):
        return sample
    raise TypeError(f"Pass a queryset, a model or an object to cache like, not {sample!r}")
