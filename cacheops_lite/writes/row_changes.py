"""Changes of single rows for a write set: the images of a row before and after a write, where they differ."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Field, Model

from ..schema import field_traits, stored_values
from ..store import AnyChange, Change
from .row_images import Image, RowValues, Table, tables_of


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
    return [
        column
        for column, field in table.fields.items()
        if field.attname in written and not _is_known_equal(field, old, new, vendor)
    ]


def _is_known_equal(field: Field[Any, Any], old: RowValues, new: RowValues, vendor: str) -> bool:
    """Return whether the column surely stores the same before and after; equal Python values are no proof of that."""
    attname = field.attname
    if attname not in old or attname not in new or not field_traits.distinguishes_stored_values(field, vendor):
        return False
    before, after = old[attname], new[attname]
    # The fast path for the types of most columns.
    if type(before) is type(after) and type(before) in (int, str):
        return bool(before == after)
    return stored_values.are_stored_equal(field, before, after)
