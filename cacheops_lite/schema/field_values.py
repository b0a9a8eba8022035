"""The values of fields as the database gets them, of instances and of what a database holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Value
from django.db.models.functions import Cast

from ..utils import error_boundary
from . import columns, stored_values
from .tokens import plain


class Entry:
    """What holds the values of a field, by its attname, as the database gets them."""

    __slots__ = ("_field", "_kind", "attname")

    def __init__(self, field: Field[Any, Any]):
        self.attname = field.attname
        self._field = field
        self._kind = columns.kind_as_is(field)

    def put(self, held: dict[str, Any], value: Any) -> None:
        """Add a value, if Django can tell it."""
        if value is not None and type(value) is self._kind:
            held[self.attname] = value
        else:
            put(held, self._field, value)


class StoredEntry(Entry):
    """The same of what a database holds, read exactly; a value that the field would not write is left out."""

    __slots__ = ("_as_is", "_connection", "_read", "_target", "selected")

    def __init__(self, field: Field[Any, Any], connection: BaseDatabaseWrapper):
        super().__init__(field)
        self._connection, self._target = connection, columns.target_of(field)
        form = stored_values.form_of(field, connection.vendor)
        # The type of values that need no reading, else what reads them.
        self._as_is: type | None = form.read if isinstance(form.read, type) else None
        self._read: stored_values.Reader | None = None if isinstance(form.read, type) else form.read
        # What ``values_list()`` is to be asked for, to get what `put_stored` takes.
        self.selected = form.select(self.attname)

    @property
    def is_column(self) -> bool:
        """What is selected is the column as it is."""
        return not isinstance(self.selected, Cast)

    def put_stored(self, held: dict[str, Any], value: Any) -> None:
        """Add a value that the database holds."""
        value = plain(value)
        if value is None or type(value) is self._as_is:
            held[self.attname] = value
        elif self._read is not None:
            try:
                held[self.attname] = self._read(value, self._target, self._connection)
            except Exception as error:
                # It is odd: nothing is known of this column of the row.
                error_boundary.pass_interrupt(error)


def stored_keys(model: type[Model], keys: Iterable[Any], connection: BaseDatabaseWrapper) -> list[Any]:
    """What ``pk__in`` takes to find the rows that hold these keys."""
    field: Any = model._meta.pk
    if columns.is_shown_as_stored(field):
        return list(keys)
    if columns.stores_plainly(field):
        keys = [field.get_db_prep_value(key, connection, prepared=True) for key in keys]
    return [Value(key, output_field=stored_values.Raw()) for key in keys]


def put(held: dict[str, Any], field: Field[Any, Any], value: Any) -> None:
    """Add `value` of `field` as the database gets it, if Django can tell."""
    try:
        held[field.attname] = plain(field.get_prep_value(value))
    except Exception as error:
        error_boundary.pass_interrupt(error)
        # ValidationError, or whatever a field of somebody else's raises: the write itself may be fine without it.
        held.pop(field.attname, None)
