"""Lock rows before they are written, and read them as they are locked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Model, QuerySet

from ..schema import StoredFieldReader
from .unit_of_work import unit_of_work_on

# SQLite's transaction modes that take the write lock at the beginning.
SQLITE_LOCKING_MODES = ("IMMEDIATE", "EXCLUSIVE")


def lock_for_update(model: type[Model], using: str) -> QuerySet[Any]:
    """Return a queryset of `model` that locks the rows it reads, for updates within the current transaction."""
    take_write_lock(model, using)
    return select_for_update(model, using)


def lock_for_delete(model: type[Model], using: str) -> QuerySet[Any]:
    """Return a queryset of `model` that locks the rows it reads, for deletes within the current transaction."""
    take_write_lock(model, using)
    queryset = uncached(model, using)
    return queryset.select_for_update() if connections[using].features.has_select_for_update else queryset


def uncached(model: type[Model], using: str) -> QuerySet[Any]:
    """Return a queryset of `model` that reads from the database for writing and locks nothing."""
    queryset: Any = QuerySet(model, using=using).nocache()
    queryset._for_write = True
    return queryset


def select_for_update(model: type[Model], using: str) -> QuerySet[Any]:
    """Return a queryset of `model` that takes the row locks of an UPDATE, where the database has row locks."""
    features, queryset = connections[using].features, uncached(model, using)
    if not features.has_select_for_update:
        return queryset
    # Not the lock of a DELETE: other transactions can still insert rows that refer to this one.
    return queryset.select_for_update(no_key=features.has_select_for_no_key_update)


@contextmanager
def write_transaction(using: str, savepoint: bool = False) -> Iterator[None]:
    """Read and write in one transaction: the current one, or a new one, which on SQLite begins with the write lock."""
    connection: Any = connections[using]
    unit = unit_of_work_on(connection)
    if unit.in_transaction or unit.unmanaged_transaction.is_open:
        # No savepoint: after an error the transaction is as usable as it would be without the cache.
        yield
        return
    mode_before = _set_locking_mode(connection)
    try:
        with transaction.atomic(using, savepoint=savepoint):
            yield
    except DatabaseError:
        raise
    except BaseException:
        _end_interrupted_transaction(connection)
        raise
    finally:
        if mode_before is not None:
            connection.transaction_mode = mode_before or None
    unit.deliver_finished_blocks()


def _end_interrupted_transaction(connection: Any) -> None:
    """End our transaction if Django was interrupted while it began or ended it: Django does not roll back then."""
    if connection.in_atomic_block or connection.connection is None:
        return
    try:
        # Through the driver, as Django takes the connection to be in autocommit.
        connection.connection.rollback()
        connection.set_autocommit(True)
    except Exception:
        with suppress(Exception):
            connection.close()


def _set_locking_mode(connection: Any) -> str | None:
    """On SQLite, let the next transaction begin with the write lock; return the mode to restore after it, else None."""
    if connection.vendor != "sqlite" or connection.in_atomic_block or not hasattr(connection, "transaction_mode"):
        return None
    # Connecting sets the transaction mode that is configured.
    connection.ensure_connection()
    mode: str | None = connection.transaction_mode
    if mode in SQLITE_LOCKING_MODES:
        return None
    connection.transaction_mode = "IMMEDIATE"
    return mode or ""


def take_write_lock(model: type[Model], using: str) -> None:
    """On SQLite, take the write lock by a statement that changes nothing, unless the transaction began with the lock.

    The statement waits for another writer.  A read would pin a snapshot first, and SQLite refuses a later write from
    that snapshot if another writer has committed meanwhile.
    """
    connection: Any = connections[using]
    if connection.vendor != "sqlite":
        return
    if connection.in_atomic_block and getattr(connection, "transaction_mode", None) in SQLITE_LOCKING_MODES:
        return
    unit = unit_of_work_on(connection)
    if not unit.is_dirty:
        table = model._meta.db_table
        with unit.claiming("delete", table), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)} WHERE 0")  # noqa: S608


def read_rows(queryset: QuerySet[Any], attnames: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `queryset` as values by attname, as they are passed to the database."""
    model, connection = queryset.model, connections[queryset.db]
    entries = [StoredFieldReader(model._meta.get_field(name), connection) for name in dict.fromkeys(attnames)]
    if not queryset.query.is_sliced:
        queryset = queryset.order_by()
    for row in queryset.values_list(*(each.selected for each in entries)):
        found: dict[str, Any] = {}
        for each, value in zip(entries, row, strict=True):
            each.add_stored(found, value)
        yield found
