"""The statement guard: sees each statement that Django sends to a database.

A write that no frame claims, such as ``update()``, ``bulk_create()`` or raw SQL, drops its tables' generations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DataError, IntegrityError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .changes import Work
from .invalidation import is_active
from .scope import watched_columns
from .statements import Write, asks_for_snapshot, mentioned, parse
from .transaction import Recorder, recorder_of
from .values import name

# After these a single write has surely changed nothing.
HARMLESS_ERRORS = (IntegrityError, ProgrammingError, DataError)


def install() -> None:
    """Put the guard on all connections, those of the future included."""
    connection_created.connect(_on_connection, dispatch_uid="cacheops_lite.guard")
    for connection in connections.all(initialized_only=True):
        _on_connection(connection=connection)


def uninstall() -> None:
    """Take the guard off this task's connections and those of the future."""
    connection_created.disconnect(dispatch_uid="cacheops_lite.guard")
    for connection in connections.all(initialized_only=True):
        if guard in connection.execute_wrappers:
            connection.execute_wrappers.remove(guard)


def _on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if guard not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, guard)


def guard(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """An execute wrapper: before a statement that may write the transaction gets dirty, after it tables are dropped."""
    connection = context["connection"]
    text = _text(sql, connection)
    write = parse(text)
    if write is None:
        if asks_for_snapshot(text):
            recorder_of(connection).asked_for_snapshot = True
        return execute(sql, params, many, context)
    recorder = recorder_of(connection)
    recorder.touch()
    try:
        result = execute(sql, params, many, context)
    except Exception as error:
        # Of several writes some may be done; and the connection may have been lost after one.
        if many or write.table is None or not isinstance(error, HARMLESS_ERRORS):
            _drop(recorder, text, write)
        raise
    frame = recorder.frame
    if many or frame is None or not frame.claims(write, text, params):
        _drop(recorder, text, write)
    return result


def _drop(recorder: Recorder, text: str, write: Write) -> None:
    if not is_active():
        return
    watched = watched_columns()
    if write.table is None:
        tables = mentioned(text, watched)
    else:
        tables = {write.table} if write.table in watched else mentioned(write.table, watched)
    if tables:
        recorder.record(Work(tables=set(map(name, tables))))


def _text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    # Composed by psycopg.
    return str(sql.as_string(connection.connection))
