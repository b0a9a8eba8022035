"""The direct path of ``get()`` by primary key or another unique column, and so of foreign keys: it builds no SQL.

Only for querysets to which nothing was added, of models whose rows lie in one table; all else goes the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from django.db import connections
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.signals import class_prepared
from django.db.models.sql.query import Query
from django.utils.inspect import func_supports_parameter

from ..conf import on_change
from ..query import Capture, context, model_layout, mutable_among, stand_in, untouchable
from ..schema import ODD, Dependency, columns, is_table, text
from ..schema import name as name_in_keys
from ..sql import KEYS, NotPreparable, rows_of
from ..store import MISS, Digest, VersionSet, digest, local_cache, prefix_of, prefix_of_table, value_key
from ..utils import LruMap, error_boundary
from .cache_policy import Caching
from .cached_read import Target, is_unstorable, note_unstorable, read_through, stored_rows

# For tests that see no difference.
ENABLED = True

# What a subclass of QuerySet may override that has a say in what get() finds.
STEPS = (
    "filter",
    "_filter_or_exclude",
    "_filter_or_exclude_inplace",
    "_chain",
    "_clone",
    "_fetch_all",
    "iterator",
    "order_by",
)


class Entrance:
    """A model whose rows can be got directly: its unique columns by the names that get() may be given."""

    def __init__(self, model: type[Model]):
        options = model._meta
        self.model = model
        self.fields: dict[str, Field[Any, Any]] = {}
        # Of the classes of these fields; they are other ones once a lookup is registered.
        self._lookups: dict[type, Any] = {}
        for field in options.concrete_fields:
            is_key = field.primary_key or (field.unique and not field.is_relation)
            if is_key and columns.compares_plainly(field):
                self._lookups[type(field)] = type(field).get_class_lookups()
                names = {field.name, field.attname} | ({"pk"} if field.primary_key else set())
                self.fields.update({spelling: field for each in names for spelling in (each, f"{each}__exact")})
        self.mutable = mutable_among(options.concrete_fields)
        self.is_shown_by_context = not all(map(columns.is_shown_as_stored, options.concrete_fields))
        self.attnames = [field.attname for field in options.concrete_fields]
        self.table = options.db_table
        self.static = digest("get", model_layout(model))

    def is_current(self, field: Field[Any, Any]) -> bool:
        """No lookup was registered for the class of `field` since."""
        return self._lookups[type(field)] is type(field).get_class_lookups()


@lru_cache(maxsize=1024)
def _entrance(model: type[Model]) -> Entrance | None:
    concrete: Any = model._meta.concrete_model
    is_simple = concrete is not None and not concrete._meta.parents and concrete._meta.pk.column is not None
    return Entrance(model) if is_simple else None


@lru_cache(maxsize=1024)
def _is_plain_class(queryset_class: type[QuerySet[Any]]) -> bool:
    """Nothing of the way of get() is overridden."""
    return all(getattr(queryset_class, name) is getattr(QuerySet, name) for name in STEPS)


def condition_of(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
    """The only condition that get() is given; None if there is none or more."""
    if kwargs:
        return next(iter(kwargs.items())) if len(kwargs) == 1 and not args else None
    if len(args) == 1 and type(args[0]) is Q:
        # What foreign keys ask for.
        q = args[0]
        if len(q.children) == 1 and not q.negated and type(q.children[0]) is tuple:
            return q.children[0]
    return None


def get(
    queryset: QuerySet[Any],
    caching: Caching,
    condition: tuple[str, Any],
    usual: Callable[[QuerySet[Any]], Any],
) -> Any:
    """The object that meets the condition, by the direct path; MISS if it can't be taken.

    `usual` is Django's own get() of a queryset; what it raises is raised.
    """
    name, value = condition
    model: Any = queryset.model
    entrance = _entrance(model) if ENABLED and type(value) in KEYS else None
    if entrance is None or name not in entrance.fields or not is_untouched(queryset):
        return MISS
    field, using = entrance.fields[name], queryset.db
    if not entrance.is_current(field):
        _forget()
        return MISS
    if not is_table(model, using) or is_unstorable(entrance.static):
        return MISS
    place = _place(entrance, field, value, using, caching.db_agnostic)
    if place is None:
        return MISS
    found = Reading(queryset, using, caching, entrance, field, value, place).found(usual)
    if found is None:
        raise model.DoesNotExist(f"{model._meta.object_name} matching query does not exist.")
    return found


class Reading:
    """One ``get()`` of the row at a place: from the memory of this process where asked for, from Redis, else from the
    database."""

    __slots__ = (
        *("_entrance", "_field", "_from_db", "_is_remembered"),
        *("_queryset", "_row", "_target", "_using", "_value"),
    )

    def __init__(
        self,
        queryset: QuerySet[Any],
        using: str,
        caching: Caching,
        entrance: Entrance,
        field: Field[Any, Any],
        value: Any,
        place: Place,
    ):
        self._queryset, self._entrance, self._field, self._value = queryset, entrance, field, value
        self._using = using
        self._is_remembered = caching.local_get and "get" in caching.ops
        self._from_db = _maker(queryset.model, queryset)
        # The row as it may be remembered: in a list, which is empty if there is none.
        self._row: Any = MISS
        self._target = Target(
            key=place[0],
            version_set=place[1],
            databases=(using,),
            timeout=caching.timeout,
            lock=caching.lock,
            sender=entrance.model,
            fingerprint=entrance.static,
        )

    def found(self, usual: Callable[[QuerySet[Any]], Any]) -> Any:
        """The instance, None if there is none; `usual` is Django's own get() of a queryset."""
        if not self._is_remembered:
            return read_through(self._target, lambda: self._compute(usual), self._made)
        key, since = self._target.key, local_cache.invalidation_count()
        remembered = local_cache.get(key)
        row = MISS if remembered is MISS else self._copied(remembered)
        if row is not MISS:
            return self._made(row)
        found = read_through(self._target, lambda: self._compute(usual), self._revived)
        # A row that is absent may be added by another process at any time.
        if self._row is not MISS and self._row:
            local_cache.put(key, self._row, [name_in_keys(self._entrance.table)], self._target.timeout, since)
        return found

    def _compute(self, usual: Callable[[QuerySet[Any]], Any]) -> tuple[Any, Any]:
        with suppress(NotPreparable):
            rows = rows_of(self._queryset.model, self._field, self._value, self._using)
            if len(rows) <= 1:
                self._row = self._copied(rows)
                return self._made(rows), self._row
        clone: Any = self._queryset.all()
        capture = clone._cacheops_capture = Capture()
        try:
            found = usual(clone)
        except self._queryset.model.DoesNotExist:
            found = None
        self._row = stored_rows(self._target, capture)
        return found, self._row

    def _made(self, rows: Any) -> Any:
        return self._from_db(self._using, self._entrance.attnames, rows[0]) if rows else None

    def _revived(self, rows: Any) -> Any:
        """An instance of kept rows, which stay as they are."""
        self._row = self._copied(rows)
        return self._made(rows)

    def _copied(self, rows: Sequence[Any]) -> Any:
        """Copies of rows, to be kept; MISS if a value can't be copied."""
        if not self._entrance.mutable:
            return rows
        try:
            return [untouchable(row, self._entrance.mutable) for row in rows]
        except Exception as error:
            note_unstorable(self._target, error)
            return MISS


def _maker(model: type[Model], queryset: Any) -> Callable[..., Model]:
    from_db = stand_in(model).from_db
    # Since Django 6.1; an older override of from_db() may not take it.
    mode = getattr(queryset, "_fetch_mode", None)
    if mode is None or not func_supports_parameter(from_db, "fetch_mode"):
        return from_db
    return partial(from_db, fetch_mode=mode)


def is_untouched(queryset: Any) -> bool:
    """Nothing was added to the queryset of all objects, nor to its class."""
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
        and _is_plain_class(queryset_class)
        and getattr(getattr(queryset, "_fetch_mode", None), "track_peers", False) is False
    )


# The key of a result, and what it rests on.
Place = tuple[str, VersionSet]

_places: LruMap[Hashable, Place] = LruMap(1000)
LONGEST_KEPT = 200


def _place(entrance: Entrance, field: Field[Any, Any], value: Any, using: str, db_agnostic: bool) -> Place | None:
    """Where the row is kept whose `field` has that value, of one of `KEYS`; None if that can't be told."""
    prefixes = prefix_of(dbs=[using], tables=[entrance.table]), prefix_of_table(name_in_keys(entrance.table), using)
    shown = context() if entrance.is_shown_by_context else ""
    identity = entrance, field, value, using, db_agnostic, prefixes, shown
    found = _places.get(identity)
    if found is None:
        found = _find_place(entrance, field, value, using, db_agnostic, prefixes, shown)
        if found is not None and (type(value) is not str or len(value) <= LONGEST_KEPT):
            _places.put(identity, found)
    return found


def _find_place(
    entrance: Entrance,
    field: Field[Any, Any],
    value: Any,
    using: str,
    db_agnostic: bool,
    prefixes: tuple[str, str],
    shown: str,
) -> Place | None:
    vendor, column = connections[using].vendor, str(field.column)
    try:
        stored = field.get_prep_value(value)
        token = columns.token_of_condition(field, vendor, stored)
    except Exception as error:
        # Whatever a field raises of a value that it does not take, Django raises in its own words.
        error_boundary.pass_interrupt(error)
        token = None
    if token is None:
        return None
    # What tells the value from others: such as are equal may have one token.
    tokens, told = [token], token
    if columns.is_loose(field, vendor):
        told = text(stored)
        if columns.has_odd_ones(field, vendor):
            tokens.append(ODD)
    name = _names(entrance, vendor, f"{'' if db_agnostic else using}{shown}", column).of(told)
    return (
        value_key(prefixes[0], name),
        VersionSet(prefixes[1], [Dependency(entrance.table, ((column, token),), None) for token in tokens]),
    )


@lru_cache(maxsize=1024)
def _names(entrance: Entrance, vendor: str, alias: str, column: str) -> Digest:
    return Digest(entrance.static, vendor, alias, column)


def _forget(*args: Any, **kwargs: Any) -> None:
    _entrance.cache_clear()
    _names.cache_clear()
    _places.clear()


on_change(_forget)
class_prepared.connect(_forget, dispatch_uid="cacheops_lite.reads.point_lookup")
