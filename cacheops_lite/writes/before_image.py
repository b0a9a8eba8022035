"""Before-image reads: read the row that a write replaces.

Another writer could change the row between our read and the write; results that depend on that intermediate state would
then not be invalidated.  So the row is locked by the read, in the transaction that then writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Model, QuerySet
from redis import RedisError

from ..schema import overrides
from ..signals import cache_invalidated
from ..sql import NotPreparable, PreparedSelect, prepare_row_select
from ..store import call, dependency_index, prefixes_of_table
from .row_images import Table, attnames_unknown_after_save, saved_attnames, tables_of
from .row_locks import read_rows, select_for_update, take_write_lock, uncached


@dataclass(slots=True)
class BeforeImage:
    """The row with primary key `pk` before a write: its `values` by attname, empty if there was no such row.

    With `is_skipped` the row was not read, as no dependency shape needs the columns that are written.
    """

    pk: Any
    values: dict[str, Any]
    is_skipped: bool = False


def read_before_image(model: type[Model], pk: Any, using: str, attnames: Iterable[str]) -> BeforeImage:
    """Read and lock the row of `model` with primary key `pk` before it is written; call it within a transaction."""
    take_write_lock(model, using)
    return BeforeImage(pk, _read_row(model, pk, list(attnames), using, select_for_update))


class ReturningUpdate:
    """Reads the before image as part of the UPDATE of a row, where the database can return what a statement replaces.

    Elsewhere the row is read right before.  The SELECT that locks the row becomes a part of the UPDATE.  It waits for a
    transaction that has changed the row and not committed yet, and then reads the row as that transaction left it; see
    PostgreSQL's manual on row locks and on READ COMMITTED.  So what it reads is the row that is then updated.
    """

    def __init__(self, model: type[Model], pk: Any, using: str, attnames: Iterable[str]):
        self._model, self._pk, self._using = model, pk, using
        # The key comes first: the UPDATE joins the SELECT by it.
        self._attnames = tuple(dict.fromkeys([model._meta.pk.attname, *attnames]))
        self._prepared: PreparedSelect | None = None
        # None until the statement was executed.
        self.before_image: BeforeImage | None = None

    def rewrite(self, sql: str, params: Sequence[Any], key_condition: str) -> tuple[str, Sequence[Any]]:
        """Return the statement to execute in place of `sql`, an UPDATE that may end by `key_condition`.

        The parameter of the condition is the last one.
        """
        with suppress(NotPreparable):
            if sql.endswith(key_condition):
                prepared = prepare_row_select(self._model, self._pk, self._attnames, self._using, select_for_update)
                # A key that is selected by an expression could not be joined with the column.
                if prepared.readers[0].is_column:
                    self._prepared = prepared
                    returning = _update_returning(sql, key_condition, prepared.sql, len(self._attnames))
                    return returning, (*params, params[-1])
        self.before_image = read_before_image(self._model, self._pk, self._using, self._attnames)
        return sql, params

    def fetch(self, cursor: Any) -> None:
        """Take what the statement returned."""
        if self._prepared is not None:
            rows = self._prepared.convert(cursor.fetchall())
            self.before_image = BeforeImage(self._pk, self._prepared.values_by_attname(rows))


@lru_cache(maxsize=1024)
def _update_returning(sql: str, key_condition: str, select: str, width: int) -> str:
    """Return the UPDATE `sql`, which ends by `key_condition`, with a FROM clause that is `select`, and a RETURNING
    clause with the `width` columns of that."""
    names = [f"cacheops_{i}" for i in range(width)]
    key = key_condition.removeprefix("WHERE ").removesuffix(" = %s")
    return (
        f"{sql.removesuffix(key_condition)}FROM ({select}) AS cacheops_old ({', '.join(names)}) "
        f"{key_condition} AND {key} = cacheops_old.{names[0]} "
        f"RETURNING {', '.join(f'cacheops_old.{each}' for each in names)}"
    )


def attnames_to_read(model: type[Model], update_fields: Iterable[str] | None) -> Sequence[str]:
    """Return the attnames that the before-image read of a save needs; none if the read can be skipped.

    None for `update_fields` means that the save writes all fields.  What is needed follows from the dependency shapes
    that this process knows.  If there is another shape by now that needs more, the invalidation finds no image for it
    and drops the table version.
    """
    # Receivers get all values of a row.
    if cache_invalidated.has_listeners(model._meta.concrete_model):
        return all_attnames(model)
    indexes = tuple(
        (table, dependency_index.usable(prefix, table.name))
        for table in tables_of(model)
        for prefix in prefixes_of_table(table.name)
    )
    return _attnames_asked_for(model, indexes, None if update_fields is None else frozenset(update_fields))


@lru_cache(maxsize=1024)
def _attnames_asked_for(
    model: type[Model],
    indexes: tuple[tuple[Table, dependency_index.DependencyIndex | None], ...],
    update_fields: frozenset[str] | None,
) -> Sequence[str]:
    saved = saved_attnames(model, update_fields)
    fields = [field for table in tables_of(model) for field in table.fields.values() if field.attname in saved]
    tables, required, is_needed = written_tables(model, fields), dependency_index.RequiredColumns(), False
    for table, index in indexes:
        if index is None:
            # Unknown shapes may need any column.
            needed: Iterable[str] = [field.attname for each in tables for field in each.fields.values()]
            break
        required.add(table.name, index)
        written = [column for column, field in table.fields.items() if field.attname in saved]
        is_needed = is_needed or any(shape.reads_any(written) for shape in index.shapes)
    else:
        if not is_needed:
            return ()
        needed = image_attnames(tables, required, fields)
    return tuple(dict.fromkeys([model._meta.pk.attname, *needed]))


def written_tables(model: type[Model], written: Container[Any]) -> list[Table]:
    """Return the tables of `model` that have `written` fields: rows of the others do not change and are not locked."""
    return [table for table in tables_of(model) if any(field in written for field in table.fields.values())]


def read_after_save(instance: Model, using: str, more_attnames: Iterable[str] = ()) -> dict[str, Any]:
    """Read, by attname, the values of a row that was just saved and that only the database knows.

    `more_attnames` are attnames to read as well, as the instance has lost or replaced what was written.
    """
    attnames = [*attnames_unknown_after_save(instance), *more_attnames]
    if not attnames or not has_key(instance):
        return {}
    return _read_row(type(instance), instance.pk, attnames, using, uncached)


def _read_row(
    model: type[Model],
    pk: Any,
    attnames: list[str],
    using: str,
    queryset_of: Callable[[type[Model], str], QuerySet[Any]],
) -> dict[str, Any]:
    if not overrides.compares_like_django(model._meta.pk):
        # More rows than one may match.
        return {}
    try:
        prepared = prepare_row_select(model, pk, tuple(attnames), using, queryset_of)
        return prepared.values_by_attname(prepared.rows(pk, using))
    except NotPreparable:
        return next(read_rows(queryset_of(model, using).filter(pk=pk), attnames), {})


def all_attnames(model: type[Model]) -> list[str]:
    """Return the attnames of a before image where it is not known which are needed."""
    return [each.attname for each in model._meta.concrete_fields]


def required_columns_of(model: type[Model]) -> dependency_index.RequiredColumns | None:
    """Return the columns that the dependency shapes of `model`'s tables need; None while Redis is unreachable.

    No write fails for that reason.
    """
    prefixes = {table.name: prefixes_of_table(table.name) for table in tables_of(model)}
    found = dependency_index.required_columns(prefixes)
    if found is None:
        with suppress(RedisError):
            call(lambda: dependency_index.load(prefixes))
            found = dependency_index.required_columns(prefixes)
    return found


def image_attnames(
    tables: Iterable[Table], required: dependency_index.RequiredColumns, written: Container[Any]
) -> Iterable[str]:
    """Yield the attnames that images of a write need.

    These are the columns of conditions in the tables' shapes, and those of the `written` fields that some result
    depends on.
    """
    for table in tables:
        for column, field in table.fields.items():
            in_condition = column in required.conditions[table.name]
            if in_condition or (field in written and required.is_read(table.name, column)):
                yield field.attname


def has_key(instance: Model) -> bool:
    """Return whether the instance has a primary key of which no part is missing."""
    key = instance.pk
    return key is not None and not (isinstance(key, tuple) and None in key)


def is_surely_new(instance: Model) -> bool:
    """Return whether Django inserts the instance without trying an UPDATE first, as its key comes from a default."""
    return instance._state.adding and all(
        field.has_default() or field.has_db_default()
        for field in getattr(instance._meta, "pk_fields", [instance._meta.pk])
    )
