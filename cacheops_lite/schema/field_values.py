"""Field values as the database gets them: those of instances, and those that a database stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Value
from django.db.models.functions import Cast

from ..utils import error_boundary
from . import field_traits, stored_values
from .tokens import unwrap_memoryview


class FieldPreparer:
    """Prepares an instance's values of one field for the database."""

    __slots__ = ("_field", "_passthrough_type", "attname")

    def __init__(self, field: Field[Any, Any]):
        self.attname = field.attname
        self._field = field
        self._passthrough_type = field_traits.passthrough_type(field)

    def add_prepared(self, values: dict[str, Any], value: Any) -> None:
        """Add a prepared value to `values`, by attname; see `add_prepared` below."""
        if value is not None and type(value) is self._passthrough_type:
            values[self.attname] = value
        else:
            add_prepared(values, self._field, value)


class StoredFieldReader(FieldPreparer):
    """Reads one field's values exactly as the database stores them."""

    __slots__ = ("_as_is", "_connection", "_read", "_target", "selected")

    def __init__(self, field: Field[Any, Any], connection: BaseDatabaseWrapper):
        super().__init__(field)
        self._connection, self._target = connection, field_traits.target_of(field)
        exact_read = stored_values.exact_read_of(field, connection.vendor)
        # Either the type of values that need no conversion, or the function that converts them.
        self._as_is: type | None = exact_read.read if isinstance(exact_read.read, type) else None
        self._read: stored_values.Reader | None = None if isinstance(exact_read.read, type) else exact_read.read
        # The argument of ``values_list()`` that selects what `add_stored` takes.
        self.selected = exact_read.select(self.attname)

    @property
    def is_column(self) -> bool:
        """Whether the column itself is selected, not a cast of it."""
        return not isinstance(self.selected, Cast)

    def add_stored(self, values: dict[str, Any], value: Any) -> None:
        """Add a selected value to `values`, by attname; leave out one that the field would not store like that."""
        # First what most values are.
        if type(value) is self._as_is or value is None:
            values[self.attname] = value
            return
        value = unwrap_memoryview(value)
        if type(value) is self._as_is:
            values[self.attname] = value
        elif self._read is not None:
            try:
                values[self.attname] = self._read(value, self._target, self._connection)
            except Exception as error:
                # The value is not canonical, so that this column of the row counts as unknown.
                error_boundary.reraise_interrupt(error)


def keys_as_stored(model: type[Model], keys: Iterable[Any], connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the values for ``pk__in`` that find the rows whose primary keys are stored as `keys`."""
    field: Any = model._meta.pk
    if field_traits.loads_like_django(field):
        return list(keys)
    if field_traits.stores_like_django(field):
        keys = [field.get_db_prep_value(key, connection, prepared=True) for key in keys]
    return [Value(key, output_field=stored_values.RawField()) for key in keys]


def add_prepared(values: dict[str, Any], field: Field[Any, Any], value: Any) -> None:
    """Add `value` to `values`, by attname and as the database gets it; remove the attname if that is not known."""
    try:
        values[field.attname] = unwrap_memoryview(field.get_prep_value(value))
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        # ValidationError, or any error of a custom field.  The write itself may succeed without this value.
        values.pop(field.attname, None)
