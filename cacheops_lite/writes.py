"""What saves and inserts changed, as work for the recorder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, GeneratedField, Model

from . import columns
from .changes import Change, Work
from .columns import is_ours_to_read
from .images import Snapshot, put, row_came, row_changed, snapshot, tables_of
from .invalidation import record
from .looks import Look, wanted_of
from .signals import cache_invalidated


def saved(instance: Model, found: Look | None, created: bool, written: Collection[str] | None, using: str) -> None:
    """Record that `instance` was saved; `found` is its look, `written` the names that save() was limited to."""
    model, vendor = type(instance), connections[using].vendor
    held = snapshot(instance)
    if created:
        _record_insert(model, held, found, using)
    elif found is None or found.pk != instance.pk or not found.held:
        _record_unknown(model, held, using)
    else:
        attnames = _written_attnames(instance, written)
        new = {name: value for name, value in found.held.items() if name not in attnames}
        new.update((name, value) for name, value in held.items() if name in attnames)
        changes = row_changed(model, found.held, new, attnames, vendor)
        record(model, using, Work(changes=changes), found.held, new)


def deleted(instance: Model, using: str) -> None:
    """Record that the row of `instance` went, of which nothing else is known."""
    _record_unknown(type(instance), snapshot(instance), using)


def _record_insert(model: type[Model], held: Snapshot, found: Look | None, using: str) -> None:
    changes = row_came(model, held, connections[using].vendor)
    # With a key given, rows of multi-table parents may have been there before.
    tables = {change.table for change in changes[1:]} if found is not None else set()
    record(model, using, Work(changes=changes, tables=tables), dict(held))


def _record_unknown(model: type[Model], held: Snapshot, using: str) -> None:
    """What the row was is not known: drop the generations."""
    record(model, using, Work(tables={table.name for table in tables_of(model)}), dict(held))


def _written_attnames(instance: Model, names: Collection[str] | None) -> set[str]:
    written = set()
    for field in instance._meta.concrete_fields:
        chosen = names is None or field.name in names or field.attname in names
        if isinstance(field, GeneratedField) or (chosen and field.attname in instance.__dict__):
            written.add(field.attname)
    return written


def created(model: type[Model], instances: Sequence[Model], using: str) -> None:
    """Record that rows were, or may have been, inserted in bulk."""
    vendor = connections[using].vendor
    wanted = wanted_of(model)
    if wanted is None:
        record(model, using, Work(tables={table.name for table in tables_of(model)}))
        return
    work = Work()
    for table in tables_of(model):
        asked_for = [
            (column, field) for column, field in table.fields.items() if column in wanted.conditions[table.name]
        ]
        # Of a row that comes its conditions matter, and many rows meet the same ones.
        images = {tuple(_tokens(instance, asked_for, vendor)) for instance in instances}
        work.changes += [Change(table.name, old=None, new=dict(image)) for image in images]
    obj_dicts = map(snapshot, instances) if cache_invalidated.has_listeners() else ()
    record(model, using, work, *obj_dicts)


def _tokens(
    instance: Model, columns_asked_for: Iterable[tuple[str, Field[Any, Any]]], vendor: str
) -> Iterator[tuple[str, str]]:
    """The tokens of some columns, as far as the instance knows them."""
    held: dict[str, Any] = {}
    for column, field in columns_asked_for:
        value = instance.__dict__.get(field.attname, field)
        # A key that is still missing the database gave, where it told none.
        unknown = value is field or hasattr(value, "resolve_expression") or (value is None and field.primary_key)
        if not unknown and is_ours_to_read(field):
            put(held, field, value)
        if field.attname in held:
            token = columns.token(field, vendor, held[field.attname])
            if token is not None:
                yield column, token
