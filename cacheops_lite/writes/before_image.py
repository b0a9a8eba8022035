"""Looks: reading the old image of a row so that it is the one that the write replaces.

Between our look and the write another writer might move the row, and what that state matched would have to fall, too.
So the row is locked when looking, in the transaction that then writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Model, QuerySet
from redis import RedisError

from ..schema import StoredFieldReader, overrides
from ..signals import cache_invalidated
from ..sql import NotPreparable, PreparedSelect, prepare_row_select
from ..store import call, dependency_index, prefixes_of_table
from .row_images import Table, tables_of, untold, written_by
from .unit_of_work import unit_of_work_for, unit_of_work_of


@dataclass(slots=True)
class BeforeImageRead:
    """What the row with key `pk` was: `held` by attname, empty if there was none.

    An idle one did not look, as nobody asks for what is written.
    """

    pk: Any
    held: dict[str, Any]
    is_idle: bool = False


def read_before_image(model: type[Model], pk: Any, using: str, attnames: Iterable[str]) -> BeforeImageRead:
    """Look at the row of `model` with primary key `pk`, before it is changed; to be called within a transaction."""
    _take_write_lock(model, using)
    return BeforeImageRead(pk, _row(model, pk, list(attnames), using, _locking))


class ReturningUpdate:
    """A look that the UPDATE of a row takes itself, where the database can tell what a statement replaces.

    Else it is taken right before.  The SELECT that locks the row becomes a part of the statement: it waits for who has
    moved the row and not yet committed, and finds what that made of it, as PostgreSQL's manual says of row locks and
    of READ COMMITTED; so it is the row that is then updated.
    """

    def __init__(self, model: type[Model], pk: Any, using: str, attnames: Iterable[str]):
        self._model, self._pk, self._using = model, pk, using
        # The key comes first: what is updated is joined by it.
        self._attnames = tuple(dict.fromkeys([model._meta.pk.attname, *attnames]))
        self._prepared: PreparedSelect | None = None
        # None until the statement was executed.
        self.found: BeforeImageRead | None = None

    def before(self, sql: str, params: Sequence[Any], condition: str) -> tuple[str, Sequence[Any]]:
        """The statement to execute in place of the one that ends by `condition` on the key, its last parameter."""
        with suppress(NotPreparable):
            if sql.endswith(condition):
                prepared = prepare_row_select(self._model, self._pk, self._attnames, self._using, _locking)
                # By what is selected of the key the statement joins it.
                if prepared.readers[0].is_column:
                    self._prepared = prepared
                    return _reporting(sql, condition, prepared.sql, len(self._attnames)), (*params, params[-1])
        self.found = read_before_image(self._model, self._pk, self._using, self._attnames)
        return sql, params

    def after(self, cursor: Any) -> None:
        """Take what the statement reports."""
        if self._prepared is not None:
            rows = self._prepared.convert(cursor.fetchall())
            self.found = BeforeImageRead(self._pk, self._prepared.values_by_attname(rows))


@lru_cache(maxsize=1024)
def _reporting(sql: str, condition: str, read_before_image: str, width: int) -> str:
    """The UPDATE, which ends by `condition` on the key, with the SELECT of a look, whose `width` columns it returns."""
    names = [f"cacheops_{i}" for i in range(width)]
    key = condition.removeprefix("WHERE ").removesuffix(" = %s")
    return (
        f"{sql.removesuffix(condition)}FROM ({read_before_image}) AS cacheops_old ({', '.join(names)}) "
        f"{condition} AND {key} = cacheops_old.{names[0]} "
        f"RETURNING {', '.join(f'cacheops_old.{each}' for each in names)}"
    )


def columns_to_read(model: type[Model], names: Iterable[str] | None) -> Sequence[str]:
    """The attnames that the look of a save has to read; `names` are those that the save is limited to, None for all.

    There are none if nobody asks for what is written, as far as this process knows of shapes.  One that it does not
    know, and that asks for more, finds no image, and drops the table.
    """
    found = [
        (table, dependency_index.usable(prefix, table.name))
        for table in tables_of(model)
        for prefix in prefixes_of_table(table.name)
    ]
    # Receivers are told all that there is of a row.
    if cache_invalidated.has_listeners(model._meta.concrete_model):
        return readable(model)
    if any(index is None for _, index in found):
        written = written_by(model, None if names is None else frozenset(names))
        fields = [field for field in model._meta.concrete_fields if field.attname in written]
        tables = written_tables(model, fields)
        own = [field.attname for table in tables for field in table.fields.values()]
        return tuple(dict.fromkeys([model._meta.pk.attname, *own]))
    return _columns_to_read(model, tuple(found), None if names is None else frozenset(names))


@lru_cache(maxsize=1024)
def _columns_to_read(
    model: type[Model], found: tuple[tuple[Table, dependency_index.DependencyIndex], ...], names: frozenset[str] | None
) -> Sequence[str]:
    wanted, written, is_asked_for = dependency_index.RequiredColumns(), written_by(model, names), False
    for table, index in found:
        wanted.add(table.name, index)
        changed = [column for column, field in table.fields.items() if field.attname in written]
        is_asked_for = is_asked_for or any(shape.reads_any(changed) for shape in index.shapes)
    if not is_asked_for:
        return ()
    fields = [field for table in tables_of(model) for field in table.fields.values() if field.attname in written]
    return tuple(dict.fromkeys([model._meta.pk.attname, *asked_for(written_tables(model, fields), wanted, fields)]))


def written_tables(model: type[Model], written: Container[Any]) -> list[Table]:
    """Of the tables of `model` those with `written` fields: rows of the others stay as they are, and are not locked."""
    return [table for table in tables_of(model) if any(field in written for field in table.fields.values())]


def read_after_save(instance: Model, using: str, lost: Iterable[str] = ()) -> dict[str, Any]:
    """What of the row that was just saved only the database knows, by attname; `lost` are those that were just saved,
    and that the instance does not hold any more."""
    attnames = [*untold(instance), *lost]
    if not attnames or not has_key(instance):
        return {}
    return _row(type(instance), instance.pk, attnames, using, _reading)


def _row(
    model: type[Model],
    pk: Any,
    attnames: list[str],
    using: str,
    queryset_of: Callable[[type[Model], str], QuerySet[Any]],
) -> dict[str, Any]:
    if not overrides.compares_like_django(model._meta.pk):
        # Other rows may equal it as well.
        return {}
    try:
        prepared = prepare_row_select(model, pk, tuple(attnames), using, queryset_of)
        return prepared.values_by_attname(prepared.rows(pk, using))
    except NotPreparable:
        return next(rows(queryset_of(model, using).filter(pk=pk), attnames), {})


def readable(model: type[Model]) -> list[str]:
    """The attnames of an old image where nobody says which are needed."""
    return [each.attname for each in model._meta.concrete_fields]


def lock(model: type[Model], using: str) -> QuerySet[Any]:
    """A queryset of `model` that locks the rows it reads, for updates of the transaction that is open."""
    _take_write_lock(model, using)
    return _locking(model, using)


def lock_to_delete(model: type[Model], using: str) -> QuerySet[Any]:
    """The same for deletes."""
    _take_write_lock(model, using)
    queryset = _reading(model, using)
    return queryset.select_for_update() if connections[using].features.has_select_for_update else queryset


def _reading(model: type[Model], using: str) -> QuerySet[Any]:
    queryset = QuerySet(model, using=using).nocache()  # type: ignore[attr-defined]
    queryset._for_write = True
    return queryset


def _locking(model: type[Model], using: str) -> QuerySet[Any]:
    features, queryset = connections[using].features, _reading(model, using)
    if not features.has_select_for_update:
        return queryset
    # As an UPDATE does, which lets others go on to add rows that refer to this one.
    return queryset.select_for_update(no_key=features.has_select_for_no_key_update)


@contextmanager
def block(using: str, savepoint: bool = False) -> Iterator[None]:
    """To look and to write in one transaction: the open one, or one that on SQLite begins with the write lock."""
    unit = unit_of_work_for(using)
    if unit.in_transaction or unit.unmanaged.is_open:
        # Errors leave it as they do without us, which may be usable.
        yield
        return
    try:
        with _locking_block(connections[using], savepoint):
            yield
    except DatabaseError:
        raise
    except BaseException:
        _leave_interrupted(connections[using])
        raise
    unit.settle()


def _leave_interrupted(connection: Any) -> None:
    """End a transaction of ours that was interrupted where Django begins or ends it, which it does not undo."""
    if connection.in_atomic_block or connection.connection is None:
        return
    try:
        # By the driver: Django holds it to be in autocommit.
        connection.connection.rollback()
        connection.set_autocommit(True)
    except Exception:
        with suppress(Exception):
            connection.close()


@contextmanager
def _locking_block(connection: Any, savepoint: bool) -> Iterator[None]:
    using = connection.alias
    if connection.vendor != "sqlite" or connection.in_atomic_block or not hasattr(connection, "transaction_mode"):
        with transaction.atomic(using, savepoint=savepoint):
            yield
        return
    # Connecting sets what is configured.
    connection.ensure_connection()
    mode = connection.transaction_mode
    if mode not in LOCKING_MODES:
        connection.transaction_mode = "IMMEDIATE"
    try:
        with transaction.atomic(using):
            yield
    finally:
        connection.transaction_mode = mode


# Of SQLite's transactions.
LOCKING_MODES = ("IMMEDIATE", "EXCLUSIVE")


def _take_write_lock(model: type[Model], using: str) -> None:
    """On SQLite, by a statement that writes nothing, and waits; unless the transaction began with the lock.

    A read first would pin a snapshot, from which SQLite refuses to go on to a write when another writer was faster.
    """
    connection: Any = connections[using]
    if connection.vendor != "sqlite":
        return
    if connection.in_atomic_block and getattr(connection, "transaction_mode", None) in LOCKING_MODES:
        return
    unit = unit_of_work_of(connection)
    if not unit.is_dirty:
        table = model._meta.db_table
        with unit.describing("delete", table), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)} WHERE 0")  # noqa: S608


def wanted_of(model: type[Model]) -> dependency_index.RequiredColumns | None:
    """What the shapes of `model`'s tables ask for; None if Redis does not tell: no write fails for that."""
    prefixes = {table.name: prefixes_of_table(table.name) for table in tables_of(model)}
    found = dependency_index.required_columns(prefixes)
    if found is None:
        with suppress(RedisError):
            call(lambda: dependency_index.load(prefixes))
            found = dependency_index.required_columns(prefixes)
    return found


def asked_for(
    tables: Iterable[Table], wanted: dependency_index.RequiredColumns, written: Container[Any]
) -> Iterable[str]:
    """The attnames that images of a write need: of conditions in the tables' shapes, and of those `written` fields
    that some result rests on."""
    for table in tables:
        for column, each in table.fields.items():
            in_condition = column in wanted.conditions[table.name]
            if in_condition or (each in written and wanted.is_read(table.name, column)):
                yield each.attname


def rows(queryset: QuerySet[Any], attnames: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows of `queryset` by attname, as the database gets them."""
    model, connection = queryset.model, connections[queryset.db]
    entries = [StoredFieldReader(model._meta.get_field(name), connection) for name in dict.fromkeys(attnames)]
    if not queryset.query.is_sliced:
        queryset = queryset.order_by()
    for row in queryset.values_list(*(each.selected for each in entries)):
        found: dict[str, Any] = {}
        for each, value in zip(entries, row, strict=True):
            each.add_stored(found, value)
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
