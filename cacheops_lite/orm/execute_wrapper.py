"""The statement guard: an execute wrapper that sees each statement Django sends to a database.

A write that no operation scope claims, such as raw SQL, drops the table versions of its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DataError, IntegrityError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..conf import settings
from ..observe import Invalidation
from ..schema import cascade_targets, database_views, known_tables, name_in_keys, tracked_columns
from ..sql import (
    Write,
    created_temporary_table,
    is_complete_once_executed,
    is_single_row_write,
    is_transaction_control,
    is_transaction_local,
    keeps_partial_writes,
    may_commit,
    may_define_view,
    may_pin_snapshot,
    may_roll_back,
    may_write_any_table,
    only_reads,
    parse_write,
    split_statements,
    tables_mentioned,
    transaction_open_after,
    unknown_write_targets,
    writes_rows,
)
from ..store import WriteSet
from ..utils import error_boundary
from ..writes import UnitOfWork, is_active, note_cause, unit_of_work_on, write_transaction
from . import commit_hooks, cursor_hooks

# In place of a statement whose text is not known: it may write any table.
UNREADABLE_SQL = "DO unreadable"
# Verbs of statements that may delete rows; the empty one stands for an unknown verb.
DELETING_VERBS = ("delete", "replace", "")
# Errors after which a single write has surely changed nothing.
ERRORS_WITHOUT_CHANGES = (IntegrityError, ProgrammingError, DataError)


def install() -> None:
    """Put the statement guard on all connections, future ones included."""
    cursor_hooks.install(_around_cursor_method)
    connection_created.connect(_on_connection, dispatch_uid="cacheops_lite.orm.execute_wrapper")
    connection_created.connect(database_views.on_connection, dispatch_uid="cacheops_lite.schema.database_views")
    for connection in connections.all(initialized_only=True):
        _on_connection(connection=connection)


def uninstall() -> None:
    """Remove the statement guard from this task's connections and from future ones."""
    cursor_hooks.uninstall()
    connection_created.disconnect(dispatch_uid="cacheops_lite.orm.execute_wrapper")
    connection_created.disconnect(dispatch_uid="cacheops_lite.schema.database_views")
    database_views.forget_all()
    for connection in connections.all(initialized_only=True):
        if statement_guard in connection.execute_wrappers:
            connection.execute_wrappers.remove(statement_guard)
            commit_hooks.uninstall(connection)


def _on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if statement_guard not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, statement_guard)
        commit_hooks.install(connection)
    cursor_hooks.patch_debug_cursors(connection)


def statement_guard(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Mark the transaction dirty before a statement that may write, and drop table versions after it.

    The arguments are those of Django's execute wrappers.
    """
    if type(sql) is str and only_reads(sql, context["connection"].vendor):
        return execute(sql, params, many, context)
    text, unit = _text(sql, context["connection"]), unit_of_work_on(context["connection"])
    if is_transaction_control(text):
        with _around_transaction_control(unit, context["connection"], text):
            return _execute(execute, text, sql, params, many, context)
    try:
        return _execute(execute, text, sql, params, many, context)
    finally:
        # Also after an error: the statement commits before it does anything else.
        if may_commit(text, context["connection"].vendor):
            _after_possible_commit(unit)


@contextmanager
def _around_transaction_control(unit: UnitOfWork, connection: BaseDatabaseWrapper, text: str) -> Iterator[None]:
    """Follow the transactions that begin or end by a statement."""
    was_manual = unit.is_manual
    if was_manual and (may_commit(text, unit.vendor) or not may_roll_back(text)):
        with commit_hooks.rolling_back(connection):
            unit.before_possible_commit()
    try:
        yield
        unit.unmanaged_transaction.after_statement(transaction_open_after(text))
    finally:
        if may_roll_back(text):
            database_views.on_rollback(unit.using)
        if may_commit(text, unit.vendor):
            _after_possible_commit(unit)
        if was_manual and not unit.is_manual:
            unit.after_end()


def _execute(execute: Callable[..., Any], text: str, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute a statement that may write; `text` is `sql` as a string."""
    connection = context["connection"]
    if may_pin_snapshot(text):
        current_transaction_only = connection.vendor == "postgresql" and is_transaction_local(text)
        unit_of_work_on(connection).snapshots.add(current_transaction_only)
    write = parse_write(text)
    if write is None:
        return execute(sql, params, many, context)
    if write.table is None and (len(split_statements(text)) > 1 or may_write_any_table(text)):
        cursor_hooks.expect_more_results(context["cursor"])
    unit = unit_of_work_on(connection)
    if not unit.in_transaction and _needs_transaction(unit, connection, text, write, many):
        # The tables can then be fenced before the write is committed.
        with write_transaction(connection.alias, savepoint=True):
            return _execute(execute, text, sql, params, many, context)
    scope = unit.scope
    if scope is not None:
        scope.before_statement(write)
    unit.mark_dirty()
    try:
        if not many and scope is not None and scope.wants_before_image(write, text, params):
            result = _execute_returning(execute, text, params, scope, context)
        else:
            result = execute(sql, params, many, context)
    except Exception as error:
        # Some of several writes may be done, and the connection may have been lost after a write.
        is_undone = isinstance(error, ERRORS_WITHOUT_CHANGES) and not keeps_partial_writes(text)
        if many or write.table is None or not is_undone:
            _invalidate_written(unit, text, write)
        raise
    if temporary := created_temporary_table(text):
        unit.temporary_tables.add(temporary)
    if many or scope is None or not scope.claims(write, text, params):
        _invalidate_written(unit, text, write)
    elif write.table is not None:
        _invalidate_tables(unit, _tables_changed_along({write.table}, write.verb, unit.using), text)
    return result


def _needs_transaction(unit: UnitOfWork, connection: BaseDatabaseWrapper, text: str, write: Write, many: bool) -> bool:
    """Return whether a statement in autocommit may change tracked rows, and can run in a transaction instead.

    ``executemany()`` and statements that begin with WITH or name several tables are left in autocommit, unless
    ``CACHEOPS_STRICT`` asks for fences: in a transaction, a failure undoes also the rows that were written before it.
    """
    return (
        is_active()
        and (not many or settings.CACHEOPS_STRICT)
        and not unit.unmanaged_transaction.is_open
        and _is_registered(connection)
        and (
            _may_change_tracked_rows(write.table, connection.alias)
            if write.table is not None
            else settings.CACHEOPS_STRICT and is_single_row_write(text) and bool(_written_tables(text, write))
        )
        and is_complete_once_executed(text, connection.vendor)
        and not keeps_partial_writes(text)
    )


def _execute_returning(execute: Callable[..., Any], sql: str, params: Any, scope: Any, context: dict[str, Any]) -> Any:
    """Execute an UPDATE so that it returns the row that it replaces."""
    returning_update = scope.returning_update
    result = execute(*returning_update.rewrite(sql, params, scope.key_condition), False, context)
    returning_update.fetch(context["cursor"])
    return result


def _invalidate_written(unit: UnitOfWork, text: str, write: Write) -> None:
    """Drop the table versions of all tables that a statement may change."""
    what = "A write can't be analysed, so all tables are invalidated"
    if not error_boundary.call_or_default(what, lambda: _invalidate_analysed(unit, text, write), False):
        _invalidate_tables(unit, set(tracked_columns()), text)
        database_views.forget(unit.using)


def _invalidate_analysed(unit: UnitOfWork, text: str, write: Write) -> bool:
    tables = set() if write.table in unit.temporary_tables else _written_tables(text, write)
    named = tables_mentioned(text, known_tables()) if write.table is None else _tables_named(write.table)
    _invalidate_tables(unit, tables | _tables_changed_along(named, write.verb, unit.using), text)
    if write.table is None and may_define_view(text):
        database_views.forget(unit.using)
    return True


def _tables_named(table: str) -> set[str]:
    """Return the tables that the name in a statement may stand for: some databases compare names without case."""
    known = known_tables()
    plain = database_views.normalized_name(table)
    return (
        {table}
        if table in known
        else {each for each in known if database_views.normalized_name(each) == plain} | {table}
    )


def _is_registered(connection: BaseDatabaseWrapper) -> bool:
    """Return whether `connection` is the one that atomic() uses for its alias, not one that was created beside it."""
    return connection.alias in connections.settings and connections[connection.alias] is connection


def _may_change_tracked_rows(table: str | None, using: str) -> bool:
    return table in tracked_columns() or bool(database_views.base_tables(table, using))


def _tables_changed_along(tables: Collection[str], verb: str, using: str) -> set[str]:
    """Return the tracked tables that a write of `tables` also changes: those behind views, and by ON DELETE CASCADE.

    A trigger of a view may turn a write into any other write of the tables behind it, so also into a delete.
    """
    behind = database_views.base_tables_of(tables, using)
    deleted_from = behind.union(tables) if verb in DELETING_VERBS else behind
    return (behind & tracked_columns().keys()).union(*map(cascade_targets, deleted_from))


def _after_possible_commit(unit: UnitOfWork) -> None:
    """Send invalidations now: what was written may be committed without Django's knowledge."""
    if unit.scopes:
        # The operation in progress has not recorded yet what it writes.
        _invalidate_tables(unit, tracked_columns())
    unit.after_possible_commit()


def _invalidate_tables(unit: UnitOfWork, tables: Collection[str], statement: str = "") -> None:
    if tables and is_active():
        write_set = WriteSet(tables=set(map(name_in_keys, tables)))
        note_cause(write_set, Invalidation("SQL", statement=statement, using=unit.using))
        unit.record(write_set)


def _written_tables(text: str, write: Write) -> set[str]:
    """Return the tracked tables that a statement may write."""
    if write.table in tracked_columns():
        return {write.table}
    return set().union(*(_tables_written_by_part(part, write) for part in split_statements(text)))


def _tables_written_by_part(text: str, write: Write) -> set[str]:
    tracked = tracked_columns()
    if may_write_any_table(text):
        return set(tracked)
    if write.table is not None:
        written = database_views.normalized_name(write.table)
        named = {table for table in tracked if database_views.normalized_name(table) == written}
        # A table that no model has may be a view or a partition of one that a model has.
        is_foreign = not named and written not in map(database_views.normalized_name, known_tables())
    else:
        named = tables_mentioned(text, tracked)
        has_strangers = not tables_mentioned(text, known_tables()) or bool(unknown_write_targets(text, known_tables()))
        is_foreign = writes_rows(text) and has_strangers
    return set(tracked) if is_foreign else named


@contextmanager
def _around_cursor_method(connection: BaseDatabaseWrapper, text: str | None) -> Iterator[None]:
    """Follow a method of a cursor that no execute wrapper sees.

    `text` is the SQL that names the tables it writes.  With None it may write any table, and may commit.
    """
    if text is not None and parse_write(text) is None:
        yield
        return
    unit = unit_of_work_on(connection)
    unit.mark_dirty()
    try:
        yield
    finally:
        if text is None or not tables_mentioned(text, known_tables()):
            _invalidate_tables(unit, set(tracked_columns()))
        else:
            _invalidate_written(unit, text, Write("", None))
        if text is None:
            database_views.forget(unit.using)
            _after_possible_commit(unit)


def _text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    try:
        # SQL composed by psycopg.
        return str(sql.as_string(connection.connection))
    except Exception as error:
        error_boundary.log_failure("A statement can't be read, so all tables are invalidated", error)
        return UNREADABLE_SQL
