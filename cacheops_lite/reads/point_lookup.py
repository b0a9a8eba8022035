"""Look up one row for ``get()`` by primary key or another unique column, and so for foreign keys, without building SQL.

Only for querysets of all objects, of models whose rows lie in one table; all others take the usual path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from django.db import connections
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql.query import Query
from django.utils.inspect import func_supports_parameter

from ..query import Capture, defensive_copy, fast_model
from ..schema import Dependency, is_table
from ..sql import KEY_TYPES, NotPreparable, select_rows
from ..store import MISS, bypass_of_database
from . import comparison, origin
from .cache_entry import CacheEntry
from .cache_policy import CachePolicy
from .cached_read import read_through
from .near_hit import near_result
from .queryset_read import stored_rows
from .row_keys import KeyAndVersions, LookupModel, dependencies_of_row, forget, key_and_versions, lookup_model_of
from .unstorable import bypass_of, note_unstorable

# Methods of QuerySet that decide what get() finds; a subclass may override them.
GET_METHODS = (
    "filter",
    "_filter_or_exclude",
    "_filter_or_exclude_inplace",
    "_chain",
    "_clone",
    "_fetch_all",
    "iterator",
    "order_by",
)


def only_condition(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the only condition of a ``get()`` as (name, value), None if it has none or several."""
    if kwargs:
        return next(iter(kwargs.items())) if len(kwargs) == 1 and not args else None
    if len(args) == 1 and type(args[0]) is Q:
        # Foreign keys pass their condition as a Q object.
        q = args[0]
        if len(q.children) == 1 and not q.negated and type(q.children[0]) is tuple:
            return q.children[0]
    return None


def get(
    queryset: QuerySet[Any],
    policy: CachePolicy,
    condition: tuple[str, Any],
    django_get: Callable[[QuerySet[Any]], Any],
) -> Any:
    """Return the object that meets the condition, MISS if a point lookup is not possible.

    Raises DoesNotExist, and what `django_get` raises, Django's own ``get()`` of a queryset.
    """
    lookup = _lookup_of(queryset, policy, condition)
    if lookup is None:
        return MISS
    found = lookup.run(django_get)
    if found is None:
        model: Any = queryset.model
        raise model.DoesNotExist(f"{model._meta.object_name} matching query does not exist.")
    return found


def point_entry(
    queryset: QuerySet[Any], policy: CachePolicy, condition: tuple[str, Any]
) -> tuple[CacheEntry, Iterable[Dependency]] | None:
    """Return the cache entry of a point lookup and its dependencies, None if it is not possible."""
    lookup = _lookup_of(queryset, policy, condition)
    return None if lookup is None else (lookup.entry(), lookup.dependencies)


def _lookup_of(queryset: QuerySet[Any], policy: CachePolicy, condition: tuple[str, Any]) -> PointLookup | None:
    name, value = condition
    model: Any = queryset.model
    lookup_model = lookup_model_of(model) if type(value) in KEY_TYPES else None
    if lookup_model is None or name not in lookup_model.fields or not is_unfiltered(queryset):
        return None
    field, using = lookup_model.fields[name], queryset.db
    kind: Any = type(field)
    if lookup_model.class_lookups[kind] is not kind.get_class_lookups():
        # A lookup was registered since.
        forget()
        return None
    if not is_table(model, using) or bypass_of(lookup_model.fingerprint) is not None:
        return None
    if bypass_of_database(using) is not None:
        return None
    found_key = key_and_versions(lookup_model, field, value, using, policy.db_agnostic)
    if found_key is None:
        return None
    return PointLookup(queryset, using, policy, lookup_model, field, value, found_key)


class PointLookup:
    """One ``get()`` of a row: from the cache, else from the database."""

    __slots__ = ("_field", "_from_db", "_key", "_lookup_model", "_near", "_policy", "_queryset", "_using", "_value")

    def __init__(
        self,
        queryset: QuerySet[Any],
        using: str,
        policy: CachePolicy,
        lookup_model: LookupModel,
        field: Field[Any, Any],
        value: Any,
        key_and_versions: KeyAndVersions,
    ):
        self._queryset, self._lookup_model, self._field, self._value = queryset, lookup_model, field, value
        self._using, self._policy, self._key = using, policy, key_and_versions
        self._from_db = _from_db_of(queryset.model, queryset)
        self._near = policy.near_options("get", is_rows=True)

    def entry(self) -> CacheEntry:
        """Return the cache entry of this read."""
        policy, lookup_model = self._policy, self._lookup_model
        return CacheEntry(
            key=self._key[0],
            version_set=self._key[1],
            databases=(self._using,),
            timeout=policy.timeout,
            lock=policy.lock,
            sender=lookup_model.model,
            fingerprint=lookup_model.fingerprint,
            operation="get",
            origin=partial(origin.of_row, lookup_model.model, self._field.attname, self._value, self._using),
            is_same=comparison.are_equal,
            near=self._near,
        )

    @property
    def dependencies(self) -> list[Dependency]:
        return dependencies_of_row(self._lookup_model, self._field, self._value, connections[self._using].vendor)

    def run(self, django_get: Callable[[QuerySet[Any]], Any]) -> Any:
        """Return the instance, None if there is none.  `django_get` is Django's own ``get()`` of a queryset."""
        if self._near is not None:
            found = near_result(self._key[0], self._lookup_model.model, "get", self._instance)
            if found is not MISS:
                return found
        entry = self.entry()
        return read_through(entry, lambda: self._compute(django_get, entry), self._instance)

    def _compute(self, django_get: Callable[[QuerySet[Any]], Any], entry: CacheEntry) -> tuple[Any, Any]:
        with suppress(NotPreparable):
            rows = select_rows(self._queryset.model, self._field, self._value, self._using)
            if len(rows) <= 1:
                copied = self._copied(rows, entry)
                return self._instance(rows), copied
        clone: Any = self._queryset.all()
        capture = clone._cacheops_capture = Capture()
        try:
            found = django_get(clone)
        except self._queryset.model.DoesNotExist:
            found = None
        return found, stored_rows(entry, capture)

    def _instance(self, rows: Any) -> Any:
        return self._from_db(self._using, self._lookup_model.attnames, rows[0]) if rows else None

    def _copied(self, rows: Sequence[Any], entry: CacheEntry) -> Any:
        """Return copies of rows, MISS if a value can't be copied."""
        if not self._lookup_model.mutable:
            return rows
        try:
            return [defensive_copy(row, self._lookup_model.mutable) for row in rows]
        except Exception as error:
            note_unstorable(entry.fingerprint, entry.label, error)
            return MISS


def _from_db_of(model: type[Model], queryset: Any) -> Callable[..., Model]:
    from_db = fast_model(model).from_db
    # Since Django 6.1; an older override of from_db() may not accept the argument.
    mode = getattr(queryset, "_fetch_mode", None)
    if mode is None or not func_supports_parameter(from_db, "fetch_mode"):
        return from_db
    return partial(from_db, fetch_mode=mode)


def is_unfiltered(queryset: Any) -> bool:
    """Return whether this is a queryset of all objects, of a class that does not change what ``get()`` does."""
    query = queryset.query
    queryset_class: Any = type(queryset)
    return (
        type(query) is Query
        and not query.where.children
        and queryset._iterable_class is ModelIterable
        and not queryset._prefetch_related_lookups
        and not queryset._known_related_objects
        and query.default_cols
        and not (query.annotations or query.extra or query.extra_tables or query.select_related or query.combinator)
        and query.high_mark is None
        and not query.low_mark
        and not (
            query.distinct
            or query.select_for_update
            or getattr(query, "_filtered_relations", None)
            or query.explain_info
        )
        and query.deferred_loading == Query.deferred_loading
        and query.group_by is None
        and _overrides_no_get_method(queryset_class)
        and getattr(getattr(queryset, "_fetch_mode", None), "track_peers", False) is False
    )


@lru_cache(maxsize=1024)
def _overrides_no_get_method(queryset_class: type[QuerySet[Any]]) -> bool:
    return all(getattr(queryset_class, name) is getattr(QuerySet, name) for name in GET_METHODS)
