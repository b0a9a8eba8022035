"""Record what saves, ``bulk_create()`` and deletes of instances changed, as write sets."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model

from ..schema import (
    DerivedCondition,
    Tokenizer,
    add_prepared,
    columns,
    field_traits,
    is_known_after_save,
    json_keys,
)
from ..signals import cache_invalidated
from ..store import InsertedRows, WriteSet, parse_condition
from ..utils import error_boundary
from .before_image import BeforeImage, required_columns_of
from .manual import record_write
from .row_changes import insert_changes, update_changes
from .row_images import (
    RowValues,
    Table,
    attnames_replaced,
    generated_attnames,
    has_custom_pre_save,
    instance_values,
    saved_attnames,
    table_names,
    tables_of,
    tokenizer_at,
)


def record_save(
    instance: Model,
    before_image: BeforeImage | None,
    read_values: RowValues,
    created: bool,
    update_fields: Collection[str] | None,
    using: str,
    forgotten: Collection[str] = (),
    unreliable: Collection[str] = (),
) -> None:
    """Record that `instance` was saved.

    `read_values` were read from the database after the save, as only the database knows them.  `forgotten` are attnames
    that were written and that the instance has no value of any more.  For the attnames in `unreliable` only
    `read_values` count, not what the instance has.
    """
    model = type(instance)
    values = instance_values(instance)
    for name in unreliable:
        values.pop(name, None)
    values.update(read_values)
    if created:
        _record_insert(model, values, before_image, using)
        return
    is_known = (
        before_image is not None and before_image.pk == instance.pk and (before_image.values or before_image.is_skipped)
    )
    if before_image is None or not is_known:
        _record_unknown(model, values, using)
    else:
        attnames = _attnames_written_by(instance, update_fields, forgotten)
        _record_update(model, before_image.values, values, attnames, using)


def _record_update(
    model: type[Model], old: Mapping[str, Any], values: RowValues, attnames: Collection[str], using: str
) -> None:
    """Record that a save changed the row `old`: columns of `attnames` to `values`.

    The read may have skipped columns that a dependency shape needs which was registered meanwhile.  The invalidation
    then finds no image for that shape and drops the table version.
    """
    new = {name: value for name, value in old.items() if name not in attnames}
    new.update((name, value) for name, value in values.items() if name in attnames)
    changes = error_boundary.call_or_default(
        "A save can't be analysed, so its tables are invalidated",
        lambda: update_changes(model, old, new, attnames, connections[using].vendor),
        None,
    )
    if changes is None:
        _record_unknown(model, values, using)
    else:
        record_write("save", model, using, WriteSet(changes=changes), dict(old), dict(new))


def record_delete(instance: Model, using: str) -> None:
    """Record that the row of `instance` was deleted, if only the instance is known, not its before image."""
    _record_unknown(type(instance), instance_values(instance), using, "delete")


def _record_insert(model: type[Model], values: RowValues, before_image: BeforeImage | None, using: str) -> None:
    changes = insert_changes(model, values, connections[using].vendor)
    # An instance that came with a key may have had rows in the tables of its multi-table parents before.
    tables = {change.table for change in changes[1:]} if before_image is not None else set()
    record_write("save", model, using, WriteSet(changes=changes, tables=tables), dict(values))


def _record_unknown(model: type[Model], values: RowValues, using: str, operation: str = "save") -> None:
    """Drop the table versions, as the row before the write is not known."""
    record_write(operation, model, using, WriteSet(tables=table_names(model)), dict(values))


def _attnames_written_by(
    instance: Model, update_fields: Collection[str] | None, forgotten: Collection[str]
) -> set[str]:
    loaded, model = instance.__dict__, type(instance)
    saved = saved_attnames(model, None if update_fields is None else frozenset(update_fields))
    generated = generated_attnames(model)
    return {attname for attname in saved if attname in loaded or attname in forgotten or attname in generated}


def values_before_insert(model: type[Model], instances: Iterable[Model]) -> list[dict[str, Any]]:
    """Copy the instances' values, so that `record_bulk_create` finds those that a field's ``pre_save()`` changes."""
    return [dict(instance.__dict__) for instance in instances] if has_custom_pre_save(model) else []


def record_bulk_create(
    model: type[Model], instances: Sequence[Model], using: str, before: Sequence[dict[str, Any]] = ()
) -> None:
    """Record that the rows of `instances` were, or may have been, inserted; `before` is from `values_before_insert`."""
    vendor = connections[using].vendor
    required = required_columns_of(model)
    if required is None or any(map(attnames_replaced, instances, before)):
        record_write("bulk_create", model, using, WriteSet(tables=table_names(model)))
        return
    inserted = error_boundary.call_or_default(
        f"Rows of {model._meta.label} that are inserted can't be analysed, so its tables are invalidated",
        lambda: [
            InsertedRows(table.name, _conditions_met(table, required.shapes[table.name], instances, vendor))
            for table in tables_of(model)
        ],
        None,
    )
    if inserted is None:
        record_write("bulk_create", model, using, WriteSet(tables=table_names(model)))
        return
    write_set = WriteSet(changes=[*inserted] if instances else [])
    has_receivers = cache_invalidated.has_listeners(model._meta.concrete_model)
    record_write("bulk_create", model, using, write_set, *(map(instance_values, instances) if has_receivers else ()))


def _conditions_met(
    table: Table, shapes: Collection[str], instances: Sequence[Model], vendor: str
) -> dict[str, set[str]]:
    """Return, by shape, the conditions that the instances' rows meet, each as a text like ``a=1&b=2``.

    Shapes with a column whose token is unknown for some instance are left out.
    """
    tokens: dict[str, list[str] | None] = {}
    met = {}
    for shape in shapes:
        names = shape.split(",") if shape else []
        texts: list[list[str]] = []
        for name in names:
            column, condition = parse_condition(name)
            if column not in tokens:
                tokens[column] = _tokens_of_instances(table, column, instances, vendor)
            found = tokens[column]
            if found is None:
                break
            texts.append([f"{name}={token}" for token in found] if condition is None else _met(name, condition, found))
        else:
            met[shape] = {"&".join(each) for each in zip(*texts, strict=True) if all(each)} if names else {""}
    return met


def _met(name: str, condition: DerivedCondition, tokens: Sequence[str]) -> list[str]:
    """Return for each token the name of a derived condition if it meets it, else nothing."""
    is_met = {token: condition.is_met(token) for token in set(tokens)}
    return [name if is_met[token] else "" for token in tokens]


# Types whose equal values have the same token.  Not datetimes: two of one time zone may be equal and an hour apart.
_TYPES_WITH_TOKENS_BY_VALUE = (int, str, bool, uuid.UUID)


def _tokens_of_instances(table: Table, column: str, instances: Iterable[Model], vendor: str) -> list[str] | None:
    """Return the tokens of a column, or of a key of one, of each instance; None if that of any instance is unknown."""
    stored, path = json_keys.split_quoted(column)
    field = table.fields.get(stored)
    tokenize = None if field is None else tokenizer_at(field, path, vendor)
    if field is None or tokenize is None or not is_known_after_save(field):
        return None
    kind = field_traits.passthrough_type(field)
    # Many rows may share a value, so tokens are kept by value.
    known: dict[Any, str | None] | None = {} if kind in _TYPES_WITH_TOKENS_BY_VALUE else None
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
    # The field itself stands for a value that is not loaded.  A key that is still None was made by the database, which
    # did not return it.
    if value is field or hasattr(value, "resolve_expression") or (value is None and field.primary_key):
        return None
    found: dict[str, Any] = {}
    add_prepared(found, field, value)
    return columns.apply_tokenizer(tokenize, found[field.attname]) if found else None
