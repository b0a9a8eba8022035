"""The row of a primary key, read by SQL that is composed once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections
from django.db.models import ForeignKey, Model, QuerySet
from django.db.models.signals import class_prepared

from .images import Entry

# Types of keys whose adaption to the database is their field's matter alone.
KEYS = (int, str, uuid.UUID)


class Prepared:
    """A SELECT of some attnames of one row by its key."""

    def __init__(self, queryset: QuerySet[Any], pk: Any, attnames: Sequence[str]):
        compiler: Any = queryset.filter(pk=pk).order_by().values_list(*attnames).query.get_compiler(queryset.db)
        self.sql, params = compiler.as_sql()
        self.is_usable = len(params) == 1
        self._compiler = compiler
        self._converters = compiler.get_converters([each[0] for each in compiler.select])
        key = queryset.model._meta.pk
        while isinstance(key, ForeignKey):
            key = key.target_field
        self._key = key
        self._entries = [Entry(queryset.model._meta.get_field(name)) for name in attnames]

    def row(self, pk: Any, using: str) -> dict[str, Any]:
        """The row of a key, empty if there is none."""
        connection = connections[using]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, [self._key.get_db_prep_value(pk, connection)])
            found = cursor.fetchone()
        if found is not None and self._converters:
            found = next(iter(self._compiler.apply_converters([found], self._converters)))
        held: dict[str, Any] = {}
        for entry, value in zip(self._entries, found or (), strict=found is not None):
            entry.put(held, value)
        return held


def row_of(
    model: type[Model],
    pk: Any,
    attnames: tuple[str, ...],
    using: str,
    queryset_of: Callable[[type[Model], str], QuerySet[Any]],
) -> dict[str, Any]:
    """The row of `model` with that key, by attname as the database gets it; empty if there is none.

    It is read as `queryset_of` a model and a database does, which adds no conditions.  Raises LookupError for a key of
    another type than is known here.
    """
    if type(pk) not in KEYS:
        raise LookupError
    key = model, attnames, using, queryset_of
    prepared = _prepared.get(key)
    if prepared is None:
        if len(_prepared) >= MAX_PREPARED:
            _prepared.clear()
        prepared = _prepared[key] = Prepared(queryset_of(model, using), pk, attnames)
    if not prepared.is_usable:
        raise LookupError
    return prepared.row(pk, using)


MAX_PREPARED = 1000
_prepared: dict[Any, Prepared] = {}


def _forget(**kwargs: Any) -> None:
    _prepared.clear()


class_prepared.connect(_forget, dispatch_uid="cacheops_lite.prepared")
