"""The statement guard: sees each statement that Django sends, on its way to the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .transaction import recorder_of

# After comments and brackets: the word that says what a statement does.
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+)", re.DOTALL)
READING = frozenset(
    word
    for line in (
        "SELECT VALUES TABLE SHOW EXPLAIN DESCRIBE DESC PRAGMA SET RESET USE FETCH DECLARE CLOSE MOVE",
        "SAVEPOINT RELEASE ROLLBACK BEGIN START COMMIT END ABORT ANALYZE CHECKPOINT LISTEN UNLISTEN NOTIFY",
        "DISCARD DEALLOCATE PREPARE LOCK UNLOCK ATTACH DETACH",
    )
    for word in line.split()
)
WRITES_WITHIN = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|INTO)\b", re.IGNORECASE)
# Quoted names; and FOR UPDATE, which only locks.
HARMLESS = re.compile(r'"[^"]*"|`[^`]*`|\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b', re.IGNORECASE)
SNAPSHOT = re.compile(
    r"\bISOLATION\s+LEVEL\b(?!\s+READ\s+(?:UN)?COMMITTED\b)|\b(?:SNAPSHOT|TRANSACTION_ISOLATION)\b", re.IGNORECASE
)


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
    """An execute wrapper: marks the transaction as dirty before a statement that may write."""
    connection = context["connection"]
    text = _text(sql, connection)
    if may_write(text):
        recorder_of(connection).touch()
    elif asks_for_snapshot(text):
        recorder_of(connection).asked_for_snapshot = True
    return execute(sql, params, many, context)


def _text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    # Composed by psycopg.
    return str(sql.as_string(connection.connection))


@lru_cache(maxsize=1024)
def may_write(sql: str) -> bool:
    """The statement is not known to only read."""
    found = FIRST_WORD.match(sql)
    word = found.group(1).upper() if found else ""
    if word in ("SELECT", "WITH", "EXPLAIN"):
        # SELECT ... INTO, WITH ... DELETE, EXPLAIN ANALYZE UPDATE.
        return bool(WRITES_WITHIN.search(HARMLESS.sub("", sql)))
    return word not in READING


@lru_cache(maxsize=1024)
def asks_for_snapshot(sql: str) -> bool:
    """The statement chooses what its transaction sees: an isolation level, a snapshot."""
    found = FIRST_WORD.match(sql)
    return (
        found is not None and found.group(1).upper() in ("SET", "BEGIN", "START") and SNAPSHOT.search(sql) is not None
    )
