"""Looks: reading the old image of a row so that it is the one that the write replaces.

Between our look and the write another writer may move the row; what that state matched must fall too.  So within a
transaction the row is locked when looking.  In autocommit the look leaves a mark in Redis: whoever else flushes a
change of the row ends the mark, or drops the table's generation if it describes none; the flush that finds either
changed drops the generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Model, OneToOneField, QuerySet

from . import outbox
from .changes import Mark
from .failure import tolerate
from .images import Table, own_key, put, tables_of
from .prefixes import prefixes_of_table
from .prepared import row_of
from .transaction import recorder_for


@dataclass(slots=True)
class Look:
    """What a row was: `held` by attname, empty if there was none; None where it was not read.

    `keys` are the tokens of its own key by table, if they can be told; `marks` what the look left there, empty for a
    row that is locked.
    """

    pk: Any
    held: dict[str, Any] | None
    keys: Mapping[str, str | None]
    marks: Mapping[str, Mapping[str, Mark]]


def look(model: type[Model], pk: Any, using: str) -> Look:
    """Look at the row of `model` with primary key `pk`, before it is changed."""
    tables = tables_of(model)
    keys = _keys_from(model, tables, pk, connections[using].vendor)
    if recorder_for(using).in_transaction:
        locked = lock(model, using)
        return Look(pk, _held(locked, pk, readable(model), "locked"), keys or {}, {})
    if keys is None:
        return Look(pk, None, {}, {})
    prefixes = {table: prefixes_of_table(table) for table in keys}
    glance = tolerate(lambda: outbox.look(keys, prefixes), None)
    if glance is None:
        return Look(pk, None, {}, {})
    attnames = list(asked_for(tables, glance.wanted))
    queryset = QuerySet(model, using=using).nocache()  # type: ignore[attr-defined]
    # Without a scheme nothing can rest on the row, and what is registered meanwhile finds no image: generation.
    found = _held(queryset, pk, attnames, "plain") if attnames else None
    return Look(pk, found, keys, glance.marks)


def readable(model: type[Model]) -> list[str]:
    """The attnames of an old image where nobody says which are needed."""
    return [each.attname for each in model._meta.concrete_fields]


def lock(model: type[Model], using: str) -> QuerySet[Any]:
    """A queryset of `model` that locks the rows it reads, for writes of the transaction that is open."""
    connection = connections[using]
    queryset = QuerySet(model, using=using).nocache()  # type: ignore[attr-defined]
    queryset._for_write = True
    if connection.features.has_select_for_update:
        return queryset.select_for_update()
    if connection.vendor == "sqlite" and not recorder_for(using).is_dirty:
        # A statement that writes nothing takes SQLite's one write lock, and waits for it.  A read first would
        # pin a snapshot, from which SQLite refuses to go on to a write when another writer was faster.
        table = connection.ops.quote_name(model._meta.db_table)
        with recorder_for(using).describing("delete", model._meta.db_table), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE 0")  # noqa: S608
    return queryset


def _keys_from(model: type[Model], tables: Iterable[Table], pk: Any, vendor: str) -> dict[str, str] | None:
    """The tokens of the row's own key in each of its tables, None if one can't be told from `pk`."""
    chain = [model._meta.pk]
    while isinstance(chain[-1], OneToOneField) and chain[-1].remote_field.parent_link:
        chain.append(chain[-1].target_field)
    keys = {}
    for table in tables:
        key: dict[str, Any] = {}
        put(key, table.pk, pk)
        token = own_key(table, key, vendor) if table.pk in chain else None
        if token is None:
            return None
        keys[table.name] = token
    return keys


def wanted_of(model: type[Model]) -> outbox.Wanted | None:
    """What the schemes of `model`'s tables ask for; None if Redis is away."""
    prefixes = {table.name: prefixes_of_table(table.name) for table in tables_of(model)}
    return tolerate(lambda: outbox.wanted(prefixes), None)


def asked_for(tables: Iterable[Table], wanted: outbox.Wanted) -> Iterable[str]:
    """The attnames that the tables' schemes ask for."""
    for table in tables:
        for column, each in table.fields.items():
            if wanted.names(table.name, column):
                yield each.attname


def _held(queryset: QuerySet[Any], pk: Any, attnames: list[str], kind: str) -> dict[str, Any]:
    """The row of `queryset` with that key by attname, as the database gets it; empty if there is none."""
    model, using = queryset.model, queryset.db
    try:
        row = row_of(model, pk, tuple(attnames), using, lambda: queryset, kind)
    except LookupError:
        return next(rows(queryset.filter(pk=pk), attnames), {})
    found: dict[str, Any] = {}
    for name, value in zip(attnames, row or (), strict=row is not None):
        put(found, model._meta.get_field(name), value)
    return found


def rows(queryset: QuerySet[Any], attnames: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows of `queryset` by attname, as the database gets them."""
    fields = [queryset.model._meta.get_field(name) for name in dict.fromkeys(attnames)]
    if not queryset.query.is_sliced:
        queryset = queryset.order_by()
    for row in queryset.values_list(*(each.attname for each in fields)):
        found: dict[str, Any] = {}
        for each, value in zip(fields, row, strict=True):
            put(found, each, value)
        yield found


def has_key(instance: Model) -> bool:
    """It has a primary key, of which no part is missing."""
    key = instance.pk
    return key is not None and not (isinstance(key, tuple) and None in key)


def is_surely_new(instance: Model) -> bool:
    """Django inserts it without trying an update first: what it adds takes its key from a default."""
    return instance._state.adding and all(
        field.has_default() or field.has_db_default()
        for field in getattr(instance._meta, "pk_fields", [instance._meta.pk])
    )
