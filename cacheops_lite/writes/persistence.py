"""What saves and inserts changed, as work for the unit of work."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model

from ..schema import Tokenizer, add_prepared, columns, field_traits, is_known_after_save
from ..signals import cache_invalidated
from ..store import InsertedRows, WriteSet
from ..utils import error_boundary
from .before_image import BeforeImageRead, wanted_of
from .manual import record
from .row_changes import row_came, row_changed
from .row_images import Snapshot, Table, generated, has_makers, replaced, snapshot, table_names, tables_of, written_by


def saved(
    instance: Model,
    found: BeforeImageRead | None,
    told: Snapshot,
    created: bool,
    written: Collection[str] | None,
    using: str,
    lost: Collection[str] = (),
    read_again: Collection[str] = (),
) -> None:
    """Record that `instance` was saved.

    `found` is its look, `told` what only the database knows since, `written` the names that save() was limited to,
    `lost` those of which the instance does not hold any more what was written, `read_again` those that are known only
    as far as they are `told`.
    """
    model, vendor = type(instance), connections[using].vendor
    held = snapshot(instance)
    for name in read_again:
        held.pop(name, None)
    held.update(told)
    if created:
        _record_insert(model, held, found, using)
    elif found is None or found.pk != instance.pk or not (found.held or found.is_idle):
        _record_unknown(model, held, using)
    else:
        # Should a shape come meanwhile that reads what an idle look did not, it finds no image, and drops the table.
        attnames = _written_attnames(instance, written, lost)
        new = {name: value for name, value in found.held.items() if name not in attnames}
        new.update((name, value) for name, value in held.items() if name in attnames)
        changes = error_boundary.call_or_default(
            "A save can't be analysed, so its tables are invalidated",
            lambda: row_changed(model, found.held, new, attnames, vendor),
            None,
        )
        if changes is None:
            _record_unknown(model, held, using)
            return
        record(model, using, WriteSet(changes=changes), dict(found.held), dict(new))


def deleted(instance: Model, using: str) -> None:
    """Record that the row of `instance` went, of which nothing else is known."""
    _record_unknown(type(instance), snapshot(instance), using)


def _record_insert(model: type[Model], held: Snapshot, found: BeforeImageRead | None, using: str) -> None:
    changes = row_came(model, held, connections[using].vendor)
    # With a key given, rows of multi-table parents may have been there before.
    tables = {change.table for change in changes[1:]} if found is not None else set()
    record(model, using, WriteSet(changes=changes, tables=tables), dict(held))


def _record_unknown(model: type[Model], held: Snapshot, using: str) -> None:
    """What the row was is not known: drop the table versions."""
    record(model, using, WriteSet(tables=table_names(model)), dict(held))


def _written_attnames(instance: Model, names: Collection[str] | None, lost: Collection[str]) -> set[str]:
    told, model = instance.__dict__, type(instance)
    written = written_by(model, None if names is None else frozenset(names))
    return {attname for attname in written if attname in told or attname in lost or attname in generated(model)}


def held_before(model: type[Model], instances: Iterable[Model]) -> list[dict[str, Any]]:
    """What `created` takes to find out whether fields changed what instances hold of others."""
    return [dict(instance.__dict__) for instance in instances] if has_makers(model) else []


def created(model: type[Model], instances: Sequence[Model], using: str, before: Sequence[dict[str, Any]] = ()) -> None:
    """Record that rows were, or may have been, inserted in bulk."""
    vendor = connections[using].vendor
    wanted = wanted_of(model)
    if wanted is None or any(map(replaced, instances, before)):
        record(model, using, WriteSet(tables=table_names(model)))
        return
    arrivals = error_boundary.call_or_default(
        f"Rows of {model._meta.label} that are inserted can't be analysed, so its tables are invalidated",
        lambda: [
            InsertedRows(table.name, _met(table, wanted.shapes[table.name], instances, vendor))
            for table in tables_of(model)
        ],
        None,
    )
    if arrivals is None:
        record(model, using, WriteSet(tables=table_names(model)))
        return
    work = WriteSet(changes=[*arrivals] if instances else [])
    is_heard = cache_invalidated.has_listeners(model._meta.concrete_model)
    record(model, using, work, *(map(snapshot, instances) if is_heard else ()))


def _met(table: Table, shapes: Collection[str], instances: Sequence[Model], vendor: str) -> dict[str, set[str]]:
    """What the instances' rows meet of each shape; without those of which some row does not tell."""
    tokens: dict[str, list[str] | None] = {}
    met = {}
    for shape in shapes:
        names = shape.split(",") if shape else []
        for column in names:
            if column not in tokens:
                tokens[column] = _tokens(table.fields.get(column), instances, vendor)
        columns_told = [found for column in names if (found := tokens[column]) is not None]
        if len(columns_told) == len(names):
            pairs = (
                [f"{column}={token}" for token in found] for column, found in zip(names, columns_told, strict=True)
            )
            met[shape] = set(map("&".join, zip(*pairs, strict=True))) if names else {""}
    return met


# Types whose equal values have the same token; times of one zone may be equal and yet an hour apart.
_TOLD_BY_VALUE = (int, str, bool, uuid.UUID)


def _tokens(field: Field[Any, Any] | None, instances: Iterable[Model], vendor: str) -> list[str] | None:
    """The tokens of a field in each of the instances, None if one of them does not know."""
    tokenize = None if field is None else columns.tokenizer(field, vendor)
    if field is None or tokenize is None or not is_known_after_save(field):
        return None
    kind = field_traits.passthrough_type(field)
    # Many rows hold the same.
    known: dict[Any, str | None] | None = {} if kind in _TOLD_BY_VALUE else None
    tokens = []
    for instance in instances:
        value = instance.__dict__.get(field.attname, field)
        if known is None or type(value) is not kind:
            token = _token(field, tokenize, value)
        elif value in known:
            token = known[value]
        else:
            token = known[value] = columns.apply_tokenizer(tokenize, value)
        if token is None:
            return None
        tokens.append(token)
    return tokens


def _token(field: Field[Any, Any], tokenize: Tokenizer, value: Any) -> str | None:
    # A key that is still missing the database gave, where it told none.
    if value is field or hasattr(value, "resolve_expression") or (value is None and field.primary_key):
        return None
    held: dict[str, Any] = {}
    add_prepared(held, field, value)
    return columns.apply_tokenizer(tokenize, held[field.attname]) if held else None
