"""What a write changed: the images of a row before and after it, where they differ."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Collection
from typing import Any

from django.db.models import Field, Model

from . import columns
from .changes import AnyChange, Change
from .images import Image, Snapshot, Table, tables_of


def differing(table: Table, old: Snapshot, new: Snapshot, written: Collection[str], vendor: str) -> list[str]:
    """The columns of `table` that may differ: of the `written` attnames those not known to be equal."""
    return [
        column
        for column, field in table.fields.items()
        if field.attname in written and not _equal(field, old, new, vendor)
    ]


# Types whose equal values are stored as one and the same.
_PLAIN = (str, int, bytes, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)


def _equal(field: Field[Any, Any], old: Snapshot, new: Snapshot, vendor: str) -> bool:
    attname = field.attname
    if attname not in old or attname not in new:
        return False
    before, after = old[attname], new[attname]
    kind = type(before)
    if kind is type(after) and kind in _PLAIN:
        return bool(before == after)
    if before is None or after is None:
        return before is after
    if isinstance(before, decimal.Decimal) and isinstance(after, decimal.Decimal):
        return bool(before == after) if columns.has_scale(field) else before.as_tuple() == after.as_tuple()
    if isinstance(before, datetime.datetime):
        return bool(before == after) and columns.shows_instants(field, vendor)
    # An enum's member is stored as the text or number that it is, whatever it equals itself.
    stored_as: Any
    for stored_as in _PLAIN:
        if isinstance(before, stored_as) and isinstance(after, stored_as):
            return stored_as.__eq__(before, after) is True
    # Others may be equal and yet be stored differently: JSON's true and 1, zeros of both signs.
    return type(before) is type(after) and repr(before) == repr(after)


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
