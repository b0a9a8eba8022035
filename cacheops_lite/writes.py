"""What saves, deletes and mass updates changed, as work for the recorder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import connections, transaction
from django.db.models import GeneratedField, Model, QuerySet

from .changes import MAX_CHANGES_PER_TABLE, Change, Work
from .images import (
    Snapshot,
    own_key,
    own_keys,
    owners_of,
    row_came,
    row_changed,
    row_went,
    snapshot,
    tables_of,
)
from .invalidation import record
from .looks import Look, keyed_rows, lock, readable
from .transaction import recorder_for


def saved(instance: Model, found: Look | None, created: bool, written: Collection[str] | None, using: str) -> None:
    """Record that `instance` was saved; `found` is its look, `written` the names that save() was limited to."""
    model, vendor = type(instance), connections[using].vendor
    held = snapshot(instance)
    if created:
        _record_insert(model, held, found, using)
    elif found is None or found.pk != instance.pk or not found.held:
        _record_unknown(model, held, vendor, using)
    else:
        attnames = _written_attnames(instance, written)
        new = {name: value for name, value in found.held.items() if name not in attnames}
        new.update((name, value) for name, value in held.items() if name in attnames)
        changes = row_changed(model, found.held, new, attnames, vendor, found.keys, found.marks)
        record(model, using, Work(changes=changes), found.held, new)


def deleted(instance: Model, found: Look | None, using: str) -> None:
    """Record that `instance` was deleted."""
    model, vendor = type(instance), connections[using].vendor
    if found is not None:
        record(model, using, found.more)
    if found is None or not found.held:
        _record_unknown(model, snapshot(instance), vendor, using)
        return
    changes = row_went(model, found.held, vendor)
    for change in changes:
        change.pk = found.keys.get(change.table)
        change.marks = found.marks.get(change.table, {})
    record(model, using, Work(changes=changes), found.held)


def update_invalidated(queryset: QuerySet[Any], values: dict[str, Any]) -> int:
    """``queryset.update(**values)``, invalidating by the rows' old and new images."""
    model: type[Model] = queryset.model
    using = queryset.db
    with transaction.atomic(using=using):
        locked = lock(model, using)
        keys = list(queryset.order_by().values_list("pk", flat=True)[: MAX_CHANGES_PER_TABLE + 1])
        if len(keys) > MAX_CHANGES_PER_TABLE or _changes_keys(model, values):
            # Many or moving rows: the guard drops the tables.
            return queryset.update(**values)
        names = readable(model)
        old = dict(keyed_rows(locked.filter(pk__in=keys), names))
        # Only rows that are locked now: what came to match meanwhile is as if it came after.
        with recorder_for(using).describing("update", *(owner._meta.db_table for owner in owners_of(model))):
            updated = queryset.filter(pk__in=list(old)).update(**values)
        new = dict(keyed_rows(locked.filter(pk__in=list(old)), names))
        _record_updates(model, old, new, using)
    return updated


def _record_updates(model: type[Model], old: Mapping[Any, Snapshot], new: Mapping[Any, Snapshot], using: str) -> None:
    vendor = connections[using].vendor
    attnames = {field.attname for field in model._meta.concrete_fields}
    for key, before in old.items():
        after = new.get(key, {})
        keys = own_keys(model, before, vendor)
        changes = row_changed(model, before, after, attnames, vendor, keys, {})
        record(model, using, Work(changes=changes), dict(before), dict(after))


def _changes_keys(model: type[Model], values: dict[str, Any]) -> bool:
    fields = [field for owner in owners_of(model) for field in owner._meta.pk_fields]
    keys = {name for field in fields for name in (field.name, field.attname, "pk")}
    return not keys.isdisjoint(values)


def _record_insert(model: type[Model], held: Snapshot, found: Look | None, using: str) -> None:
    changes = row_came(model, held, connections[using].vendor)
    # With a key given, rows of multi-table parents may have been there before.
    tables = {change.table for change in changes[1:]} if found is not None else set()
    record(model, using, Work(changes=changes, tables=tables), dict(held))


def _record_unknown(model: type[Model], held: Snapshot, vendor: str, using: str) -> None:
    """What the row was is not known: drop the generations, and end the marks of others who look at it."""
    tables = tables_of(model)
    ends = [Change(table.name, old=None, new=None, changed=[], pk=own_key(table, held, vendor)) for table in tables]
    record(model, using, Work(changes=ends, tables={table.name for table in tables}), dict(held))


def _written_attnames(instance: Model, names: Collection[str] | None) -> set[str]:
    written = set()
    for field in instance._meta.concrete_fields:
        chosen = names is None or field.name in names or field.attname in names
        if isinstance(field, GeneratedField) or (chosen and field.attname in instance.__dict__):
            written.add(field.attname)
    return written


def linked(through: type[Model], pairs: list[dict[str, Any]], using: str, *, came: bool) -> None:
    """Record that rows of a many-to-many table, of which the two keys are known, came or went."""
    vendor = connections[using].vendor
    make = row_came if came else row_went
    for held in pairs:
        record(through, using, Work(changes=make(through, held, vendor)), held)


def created(model: type[Model], instances: Iterable[Model], using: str) -> None:
    """Record that rows were inserted in bulk."""
    vendor = connections[using].vendor
    for instance in instances:
        held = snapshot(instance)
        record(model, using, Work(changes=row_came(model, held, vendor)), held)
