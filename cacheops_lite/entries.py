"""The values of fields as the database gets them, of instances and of what a database holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import F, Field, Model, TextField, Value
from django.db.models.expressions import ExpressionWrapper
from django.db.models.functions import Cast

from . import bypass, columns
from .values import plain


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
    """The same of what a database holds, of a vendor."""

    __slots__ = ("_is_put_as_is", "_is_shown_as_stored", "_is_shown_rounded")

    def __init__(self, field: Field[Any, Any], vendor: str):
        super().__init__(field)
        self._is_shown_as_stored = columns.is_shown_as_stored(field)
        self._is_shown_rounded = self._is_shown_as_stored and columns.is_shown_rounded(field, vendor)
        self._is_put_as_is = not (self._is_shown_as_stored and columns.prepares_plainly(field))

    @property
    def selected(self) -> Any:
        """What ``values_list()`` is to be asked for, to get what `put_stored` takes."""
        if self._is_shown_rounded:
            return Cast(F(self.attname), TextField())
        if self._is_shown_as_stored:
            return self.attname
        return ExpressionWrapper(F(self.attname), output_field=_Stored(self._field))

    def put_stored(self, held: dict[str, Any], value: Any) -> None:
        """Add a value that the database holds."""
        if self._is_put_as_is:
            held[self.attname] = plain(value)
        else:
            self.put(held, value)


class _Stored(Field):
    """Shows what the column of another field holds."""

    def __init__(self, field: Field[Any, Any]):
        super().__init__(null=True)
        self._kind = field.get_internal_type()

    def get_internal_type(self) -> str:
        return self._kind


def stored_keys(model: type[Model], keys: Iterable[Any]) -> list[Any]:
    """What ``pk__in`` takes to find the rows that hold these keys."""
    field: Any = model._meta.pk
    if columns.is_shown_as_stored(field):
        return list(keys)
    return [Value(key, output_field=_Stored(field)) for key in keys]


def put(held: dict[str, Any], field: Field[Any, Any], value: Any) -> None:
    """Add `value` of `field` as the database gets it, if Django can tell."""
    try:
        held[field.attname] = plain(field.get_prep_value(value))
    except Exception as error:
        bypass.pass_interrupt(error)
        # ValidationError, or whatever a field of somebody else's raises: the write itself may be fine without it.
        held.pop(field.attname, None)
