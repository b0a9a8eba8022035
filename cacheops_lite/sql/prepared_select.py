"""Rows that have a value in one column, read by SQL that is composed once."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ForeignKey, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.query import MAX_GET_RESULTS
from django.db.models.signals import class_prepared

from ..conf import on_change
from ..schema import StoredEntry
from ..utils import LruMap, error_boundary
from .opaque_sql import is_plain_column

# Types of values whose adaption to the database is their field's matter alone.
KEYS = (int, str, uuid.UUID)


class NotPreparable(Exception):
    """These rows are to be read in the usual way."""


class Prepared:
    """The SELECT of a queryset whose one condition is that `field` has a value, for other values of that type."""

    def __init__(
        self, queryset: QuerySet[Any], field: Field[Any, Any], value: Any, entries: Sequence[StoredEntry] = ()
    ):
        using = queryset.db
        # Of what is read, if only that is.
        self.entries = entries
        while isinstance(field, ForeignKey):
            field = field.target_field
        self._field, self._compiler = field, queryset.query.get_compiler(using)
        self._least, self._most = _range(field, using)
        self.sql, params = self._compiler.as_sql()
        select: Any = self._compiler.select
        self._converters = self._compiler.get_converters([each[0] for each in select])
        is_plain = all(is_plain_column(each[0]) for each in select if isinstance(each[0], Col))
        self.is_usable = is_plain and list(params) == [self._adapted(value, using)]

    def rows(self, value: Any, using: str) -> list[tuple[Any, ...]]:
        """What the compiler would yield.  Raises Unprepared for a value that it would not ask the database for."""
        adapted = self._adapted(value, using)
        with connections[using].cursor() as cursor:
            cursor.execute(self.sql, [adapted])
            return self.converted(cursor.fetchall())

    def converted(self, found: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What the compiler would yield of what a cursor found."""
        if self._converters and found:
            return [*map(tuple, self._compiler.apply_converters(found, self._converters))]
        return [*map(tuple, found)]

    def held(self, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """The one row there may be, by attname as the database gets it; empty if there is none."""
        held: dict[str, Any] = {}
        for row in rows:
            for entry, value in zip(self.entries, row, strict=True):
                entry.put_stored(held, value)
        return held

    def _adapted(self, value: Any, using: str) -> Any:
        try:
            value = self._field.get_prep_value(value)
            if isinstance(value, int) and not self._least <= value <= self._most:
                # Nothing can equal it.
                raise NotPreparable
            return self._field.get_db_prep_value(value, connections[using], prepared=True)
        except Exception as error:
            # Django raises it again where it refuses the value itself.
            error_boundary.pass_interrupt(error)
            raise NotPreparable from error


def _range(field: Field[Any, Any], using: str) -> tuple[float, float]:
    """The integers that a column can hold."""
    least: int | None = None
    most: int | None = None
    # Others than integers have none.
    with suppress(KeyError):
        least, most = connections[using].ops.integer_field_range(field.get_internal_type())
    return -math.inf if least is None else least, math.inf if most is None else most


def prepared_row(
    model: type[Model],
    pk: Any,
    attnames: tuple[str, ...],
    using: str,
    queryset_of: Callable[[type[Model], str], QuerySet[Any]],
) -> Prepared:
    """What reads those attnames of the row of `model` with that key.

    It is read as `queryset_of` a model and a database does, which adds no conditions.  Raises Unprepared if it is not
    known how.
    """

    def make() -> Prepared:
        connection = connections[using]
        entries = [StoredEntry(cast("Field[Any, Any]", model._meta.get_field(name)), connection) for name in attnames]
        queryset = queryset_of(model, using).filter(pk=pk).order_by()
        return Prepared(queryset.values_list(*(each.selected for each in entries)), model._meta.pk, pk, entries)

    return _prepared_by((model, attnames, queryset_of), pk, using, make)


def rows_of(model: type[Model], field: Field[Any, Any], value: Any, using: str) -> list[tuple[Any, ...]]:
    """The rows of `model` that a ``get()`` by `field` reads.  Raises Unprepared if it is not known how."""

    def make() -> Prepared:
        queryset: QuerySet[Any] = QuerySet(model, using=using).filter(**{field.attname: value}).order_by()
        queryset.query.set_limits(high=MAX_GET_RESULTS)
        return Prepared(queryset, field, value)

    return _prepared_by((model, field), value, using, make).rows(value, using)


def _prepared_by(key: Hashable, value: Any, using: str, make: Callable[[], Prepared]) -> Prepared:
    """What `make` makes for values of that type, which is kept.  Raises Unprepared if it can't be used."""
    if type(value) not in KEYS:
        raise NotPreparable
    identity: Hashable = (key, type(value), _epoch)
    kept = _kept_on(connections[using])
    prepared = kept.get(identity)
    if prepared is None:
        try:
            prepared = make()
        except Exception as error:
            error_boundary.pass_interrupt(error)
            raise NotPreparable from error
        kept.put(identity, prepared)
    if not prepared.is_usable:
        raise NotPreparable
    return prepared


def _kept_on(connection: BaseDatabaseWrapper) -> LruMap[Hashable, Prepared]:
    """What is prepared for a connection, and belongs to it: a compiler must not keep it from being closed."""
    kept = connection.__dict__.get("_cacheops_prepared")
    if kept is None:
        kept = LruMap(MAX_PREPARED)
        connection._cacheops_prepared = kept  # type: ignore[attr-defined]
    return kept


MAX_PREPARED = 500
# Counts changes of models and settings: what was prepared before one is not found any more.
_epoch = 0


def _forget(*args: Any, **kwargs: Any) -> None:
    global _epoch
    _epoch += 1


on_change(_forget)
class_prepared.connect(_forget, dispatch_uid="cacheops_lite.sql.prepared_select")
