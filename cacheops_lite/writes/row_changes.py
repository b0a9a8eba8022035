"""Changes of single rows for a write set: the images of a row before and after a write, where they differ."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from django.db.models import Field, Model

from ..conf import on_change
from ..schema import field_traits, stored_values
from ..store import AnyChange, Change
from .row_images import Image, RowValues, Table, tables_of

_UNKNOWN = object()


def insert_changes(model: type[Model], new: RowValues, vendor: str) -> list[AnyChange]:
    """Return the changes that inserting a row makes, one for each of its tables."""
    return [Change(table.name, old=None, new=Image(table, new, vendor)) for table in tables_of(model)]


def delete_change(model: type[Model], old: RowValues, vendor: str) -> Change:
    """Return the change that deleting a row from the model's own table makes; multi-table parents are not included."""
    table = tables_of(model)[0]
    return Change(table.name, old=Image(table, old, vendor), new=None)


def update_changes(
    model: type[Model], old: RowValues, new: RowValues, written: Collection[str], vendor: str
) -> list[AnyChange]:
    """Return the changes that updating the `written` attnames of a row makes; none for tables where nothing differs."""
    changes: list[AnyChange] = []
    for table in tables_of(model):
        if changed := changed_columns(table, old, new, written, vendor):
            changes.append(Change(table.name, Image(table, old, vendor), Image(table, new, vendor), changed))
    return changes


def changed_columns(table: Table, old: RowValues, new: RowValues, written: Collection[str], vendor: str) -> list[str]:
    """Return the columns of `table` that may differ: those of the `written` attnames that are not known to be equal."""
    changed = []
    for column, attname, field, is_comparable in _comparisons(table, vendor):
        if attname in written:
            before, after = old.get(attname, _UNKNOWN), new.get(attname, _UNKNOWN)
            if not is_comparable or before is _UNKNOWN or after is _UNKNOWN:
                changed.append(column)
                continue
            kind = type(before)
            # The fast path for the types of most columns.
            is_equal = (
                before == after
                if kind is type(after) and (kind is int or kind is str)
                else stored_values.are_stored_equal(field, before, after)
            )
            if not is_equal:
                changed.append(column)
    return changed


@cache
def _comparisons(table: Table, vendor: str) -> tuple[tuple[str, str, Field[Any, Any], bool], ...]:
    """Return each column with its attname, its field, and whether equal Python values prove that it did not change."""
    return tuple(
        (column, field.attname, field, field_traits.distinguishes_stored_values(field, vendor))
        for column, field in table.fields.items()
    )


@on_change
def _forget(setting: str) -> None:
    _comparisons.cache_clear()
