"""SELECTs by the value of one column whose SQL is composed once and then executed with other values."""

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
from ..schema import StoredFieldReader
from ..utils import LruMap, error_boundary
from .opaque_sql import is_plain_column

# Types of values that are adapted to the database by their field alone.
KEY_TYPES = (int, str, uuid.UUID)
# Prepared SELECTs per connection.
MAX_PREPARED = 500


class NotPreparable(Exception):
    """The rows must be read by an ordinary queryset."""


class PreparedSelect:
    """The SELECT of a queryset whose only condition is ``field = value``, for any value of that value's type.

    `readers` read the selected columns, if the queryset selects only what they need.
    """

    def __init__(
        self, queryset: QuerySet[Any], field: Field[Any, Any], value: Any, readers: Sequence[StoredFieldReader] = ()
    ):
        using = queryset.db
        self.readers = readers
        while isinstance(field, ForeignKey):
            field = field.target_field
        self._field, self._compiler = field, queryset.query.get_compiler(using)
        self._least, self._most = _integer_range(field, using)
        self.sql, params = self._compiler.as_sql()
        select: Any = self._compiler.select
        self._converters = self._compiler.get_converters([each[0] for each in select])
        is_plain = all(is_plain_column(each[0]) for each in select if isinstance(each[0], Col))
        self.is_usable = is_plain and list(params) == [self._adapt(value, using)]

    def rows(self, value: Any, using: str) -> list[tuple[Any, ...]]:
        """Return the rows that the queryset's compiler would return for `value`.

        Raises NotPreparable for a value that Django would refuse, or would not query the database for.
        """
        adapted = self._adapt(value, using)
        # It is kept by the connection that it was prepared for.
        with self._compiler.connection.cursor() as cursor:
            cursor.execute(self.sql, [adapted])
            return self.convert(cursor.fetchall())

    def convert(self, fetched: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Convert the rows of a cursor as the queryset's compiler does."""
        if self._converters and fetched:
            return [*map(tuple, self._compiler.apply_converters(fetched, self._converters))]
        return [*map(tuple, fetched)]

    def values_by_attname(self, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """Return the values of the only row, by attname and as the database gets them; an empty dict without a row."""
        values: dict[str, Any] = {}
        for row in rows:
            for reader, value in zip(self.readers, row, strict=True):
                reader.add_stored(values, value)
        return values

    def _adapt(self, value: Any, using: str) -> Any:
        try:
            value = self._field.get_prep_value(value)
            if isinstance(value, int) and not self._least <= value <= self._most:
                # No value of the column can equal it.
                raise NotPreparable
            return self._field.get_db_prep_value(value, self._compiler.connection, prepared=True)
        except Exception as error:
            # If the field refuses the value, the ordinary queryset raises this error again.
            error_boundary.reraise_interrupt(error)
            raise NotPreparable from error


def _integer_range(field: Field[Any, Any], using: str) -> tuple[float, float]:
    """Return the least and the greatest integer that a column can store."""
    least: int | None = None
    most: int | None = None
    # Other types of fields have no range.
    with suppress(KeyError):
        least, most = connections[using].ops.integer_field_range(field.get_internal_type())
    return -math.inf if least is None else least, math.inf if most is None else most


def prepare_row_select(
    model: type[Model],
    pk: Any,
    attnames: tuple[str, ...],
    using: str,
    queryset_of: Callable[[type[Model], str], QuerySet[Any]],
) -> PreparedSelect:
    """Return the SELECT that reads `attnames` of the row of `model` with primary key `pk`.

    `queryset_of` takes a model and a database alias, and returns a queryset without conditions to derive it from.
    Raises NotPreparable if the rows must be read by an ordinary queryset.
    """

    def prepare() -> PreparedSelect:
        connection = connections[using]
        readers = [
            StoredFieldReader(cast("Field[Any, Any]", model._meta.get_field(name)), connection) for name in attnames
        ]
        queryset = queryset_of(model, using).filter(pk=pk).order_by()
        return PreparedSelect(queryset.values_list(*(each.selected for each in readers)), model._meta.pk, pk, readers)

    return _find_or_prepare((model, attnames, queryset_of), pk, using, prepare)


def select_rows(model: type[Model], field: Field[Any, Any], value: Any, using: str) -> list[tuple[Any, ...]]:
    """Return the rows of `model` that a ``get()`` by `field` reads.

    Raises NotPreparable if they must be read by an ordinary queryset.
    """

    def prepare() -> PreparedSelect:
        queryset: QuerySet[Any] = QuerySet(model, using=using).filter(**{field.attname: value}).order_by()
        queryset.query.set_limits(high=MAX_GET_RESULTS)
        return PreparedSelect(queryset, field, value)

    return _find_or_prepare((model, field), value, using, prepare).rows(value, using)


def _find_or_prepare(key: Hashable, value: Any, using: str, prepare: Callable[[], PreparedSelect]) -> PreparedSelect:
    """Return the SELECT kept under `key` for values of this type, or prepare and keep it.

    Raises NotPreparable if it cannot be used.
    """
    if type(value) not in KEY_TYPES:
        raise NotPreparable
    identity: Hashable = (key, type(value), _epoch)
    selects = _selects_of(connections[using])
    prepared = selects.get(identity)
    if prepared is None:
        try:
            prepared = prepare()
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            raise NotPreparable from error
        selects.put(identity, prepared)
    if not prepared.is_usable:
        raise NotPreparable
    return prepared


def _selects_of(connection: BaseDatabaseWrapper) -> LruMap[Hashable, PreparedSelect]:
    """Return the SELECTs prepared for a connection.

    The connection itself keeps them: a global map of compilers would keep connections alive and so open.
    """
    selects = connection.__dict__.get("_cacheops_prepared")
    if selects is None:
        selects = LruMap(MAX_PREPARED)
        connection._cacheops_prepared = selects  # type: ignore[attr-defined]
    return selects


# Part of each identity, increased when models or settings change, so that no SELECT from before is found.
_epoch = 0


def _start_epoch(*args: Any, **kwargs: Any) -> None:
    global _epoch
    _epoch += 1


on_change(_start_epoch)
class_prepared.connect(_start_epoch, dispatch_uid="cacheops_lite.sql.prepared_select")
