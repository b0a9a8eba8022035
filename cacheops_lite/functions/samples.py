"""Samples: querysets, models and instances whose changes invalidate the results of a function or view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from ..conf import Near, parse_near, parse_timeout, settings, settings_version
from ..observe import Bypass, Reason, counters, decisions
from ..query import Uncacheable, compiler
from ..reads import CacheEntry, CachePolicy, CacheReport, explain_call, origin, require_policy
from ..schema import Dependency, name_in_keys
from ..store import (
    NearOptions,
    VersionSet,
    bypass_of_database,
    database_name,
    digest,
    function_serializer,
    near_leases,
    prefix_of,
    prefix_of_table,
    value_key,
    value_suffix,
)
from ..utils import error_boundary
from ..writes import is_dirty
from .call_key import Function, identity_of


@dataclass(frozen=True, slots=True)
class Options:
    """How results are cached.  `timeout` is in seconds."""

    timeout: int
    lock: bool
    db_agnostic: bool
    near: NearOptions | None = None


@dataclass(frozen=True, slots=True)
class _Analysis:
    """What identifies the samples on some databases, and the dependencies of results cached like them."""

    identities: list[str]
    dependencies: set[Dependency]

    @property
    def tables(self) -> list[str]:
        return sorted({dependency.table for dependency in self.dependencies})


class Samples:
    """The samples of one decorator.

    They are analysed when they are first needed: decorators run at import, when models may not be loaded yet.
    """

    def __init__(self, querysets: Sequence[QuerySet[Any]], options: Options):
        self.querysets = querysets
        self.options = options
        self._analysis = lru_cache(maxsize=1)(self._analyse)
        self._version_set = lru_cache(maxsize=16)(self._make_version_set)

    @classmethod
    def checked(
        cls, samples: Sequence[Any], timeout: int | None, lock: bool | None, where: str, near: Near | None = None
    ) -> Samples:
        """Return the samples of the decorator `where`, with the options that it passes or else their profiles'.

        Raises TypeError for no sample or an invalid one, ImproperlyConfigured for a model without a profile or an
        invalid option.
        """
        if not samples:
            raise TypeError(
                f"{where} needs at least one queryset, model or instance whose changes invalidate the result"
            )
        querysets = [_queryset(sample, where) for sample in samples]
        profiles = [require_policy(queryset) for queryset in querysets]
        if timeout is not None:
            parse_timeout(timeout, where)
        options = Options(
            timeout=min(profile.timeout for profile in profiles) if timeout is None else timeout,
            lock=any(profile.lock for profile in profiles) if lock is None else lock,
            db_agnostic=all(profile.db_agnostic for profile in profiles),
            near=_near_options(profiles, near, where),
        )
        return cls(querysets, options)

    @property
    def databases(self) -> tuple[str, ...]:
        return tuple(sorted({queryset.db for queryset in self.querysets}))

    def target(self, func: Function, identity: Callable[[], str]) -> CacheEntry | None:
        """Return the target of a read: the result of the call of `func` that `identity()` identifies.

        None if it can't be cached now; why not is recorded.
        """
        found = self.find(func, identity)
        if isinstance(found, CacheEntry):
            return found
        if counters.is_on:
            counters.note(counters.label_of(func), "call", found.reason, found.detail)
        if decisions.is_observed():
            decisions.publish_bypass("call", None, found, func=func)
        return None

    def find(self, func: Function, identity: Callable[[], str]) -> CacheEntry | Bypass:
        """Return the target of a read, or why it can't be cached now."""
        databases = self.databases
        if not settings.CACHEOPS_ENABLED:
            return Bypass(Reason.DISABLED)
        if is_dirty(databases):
            return Bypass(Reason.TRANSACTION_HAS_WRITTEN)
        version = settings_version()
        analysis = self._analysis(databases, version)
        if isinstance(analysis, Bypass):
            return analysis
        for alias in databases:
            bypass = bypass_of_database(alias)
            if bypass is not None:
                return bypass
        tables = analysis.tables
        prefixes = tuple(prefix_of_table(name_in_keys(table), databases[0]) for table in tables)
        prefix = prefix_of(func, databases, tables)
        # The prefix names the first database only.
        names = map(database_name, databases[1:])
        suffix = "".join(map(value_suffix, databases))
        serializer = function_serializer()
        version_set = self._version_set(databases, version, prefixes)
        name = digest("as", *names, *analysis.identities, identity()) + suffix
        return CacheEntry(
            key=value_key(prefix, name, version_set.tables),
            version_set=version_set,
            databases=databases,
            timeout=self.options.timeout,
            lock=self.options.lock,
            func=func,
            origin=partial(origin.of_call, func, (), {}),
            dumps=serializer.dumps,
            loads=serializer.loads,
            near=self.options.near,
        )

    def explain(self, func: Function, identity: Callable[[], str]) -> CacheReport:
        """Return the report on the call of `func` that `identity()` identifies."""
        analysis = self._analysis(self.databases, settings_version())
        dependencies = analysis.dependencies if isinstance(analysis, _Analysis) else ()
        profile = f"timeout {self.options.timeout} s{', lock' if self.options.lock else ''}"
        return explain_call(func, self.find(func, identity), profile, dependencies)

    # The methods below are memoized.  `version`, that of the settings, only makes their results expire.

    def _analyse(self, databases: tuple[str, ...], version: int) -> _Analysis | Bypass:
        analysis = _Analysis([] if self.options.db_agnostic else list(databases), set())
        for queryset in self.querysets:
            try:
                read = compiler.compile_rows(queryset.all())
                prefetched = identity_of([*queryset._prefetch_related_lookups])  # type: ignore[attr-defined]
            except EmptyResultSet:
                # An empty queryset has no dependencies, but its position distinguishes lists of samples.
                analysis.identities.append("")
                continue
            except Exception as error:
                if isinstance(error, Uncacheable):
                    return Bypass(error.reason, error.detail)
                if not isinstance(error, TypeError):
                    error_boundary.log_failure("A sample of cached_as() or cached_view_as() can't be analysed", error)
                return Bypass(Reason.NOT_ANALYSABLE, error_boundary.describe_error(error))
            analysis.identities.append(f"{read.name} {prefetched}")
            analysis.dependencies.update(read.dependencies)
        return analysis

    def _make_version_set(self, databases: tuple[str, ...], version: int, prefixes: tuple[str, ...]) -> VersionSet:
        analysis = self._analysis(databases, version)
        assert isinstance(analysis, _Analysis)
        by_table = dict(zip(map(name_in_keys, analysis.tables), prefixes, strict=True))
        return VersionSet(by_table.__getitem__, analysis.dependencies)


def _near_options(profiles: Sequence[CachePolicy], near: Near | None, where: str) -> NearOptions | None:
    """Return how results are kept: as told, else if the profiles of all samples keep theirs."""
    lease = min(profile.near_lease for profile in profiles)
    if near is None:
        if not all(profile.near for profile in profiles):
            return None
        near = "relaxed" if any(profile.near == "relaxed" for profile in profiles) else True
    elif not parse_near(near, where):
        return None
    elif near is True:
        near_leases.declare(lease)
    return NearOptions(lease, is_strict=near is True)


def _queryset(sample: Any, where: str) -> QuerySet[Any]:
    if isinstance(sample, Model):
        if sample.pk is None:
            raise TypeError(
                f"{where} has the sample {sample!r}, which is not saved: it has no primary key that changes could be "
                "matched by. Save it first, or pass its model."
            )
        return sample.__class__._base_manager.filter(pk=sample.pk)
    if isinstance(sample, type) and issubclass(sample, Model):
        return sample._default_manager.all()
    if isinstance(sample, BaseManager):
        return sample.all()
    if isinstance(sample, QuerySet):
        return sample
    raise TypeError(f"{where} needs querysets, models or instances whose changes invalidate the result, not {sample!r}")
