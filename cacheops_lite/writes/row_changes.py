"""What a write changed: the images of a row before and after it, where they differ."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Field, Model

from ..schema import field_traits, stored_values
from ..store import AnyChange, Change
from .row_images import Image, Snapshot, Table, tables_of


def differing(table: Table, old: Snapshot, new: Snapshot, written: Collection[str], vendor: str) -> list[str]:
    """The columns of `table` that may differ: of the `written` attnames those not known to be equal."""
    return [
        column
        for column, field in table.fields.items()
        if field.attname in written and not _equal(field, old, new, vendor)
    ]


def _equal(field: Field[Any, Any], old: Snapshot, new: Snapshot, vendor: str) -> bool:
    """The column surely held before what it holds after: a value that looks the same is no proof of it."""
    attname = field.attname
    if attname not in old or attname not in new or not field_traits.distinguishes_stored_values(field, vendor):
        return False
    before, after = old[attname], new[attname]
    # What most columns hold.
    if type(before) is type(after) and type(before) in (int, str):
        return bool(before == after)
    return stored_values.are_stored_equal(field, before, after)


def row_came(model: type[Model], held: Snapshot, vendor: str) -> list[AnyChange]:
    """The changes that inserting the row makes, one for each of its tables."""
    return [Change(table.name, old=None, new=Image(table, held, vendor)) for table in tables_of(model)]


def own_row_went(model: type[Model], held: Snapshot, vendor: str) -> Change:
    """The change that deleting the row from the model's own table makes."""
    table = tables_of(model)[0]
    return Change(table.name, old=Image(table, held, vendor), new=None)


def row_changed(
    model: type[Model], old: Snapshot, new: Snapshot, written: Collection[str], vendor: str
) -> list[AnyChange]:
    """The changes that updating the `written` attnames of the row makes; none where nothing differs."""
    changes: list[AnyChange] = []
    for table in tables_of(model):
        if changed := differing(table, old, new, written, vendor):
            changes.append(Change(table.name, Image(table, old, vendor), Image(table, new, vendor), changed))
    return changes
