"""The statement guard: sees each statement that Django sends to a database.

A write that no frame claims, such as raw SQL, drops its tables' table versions.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..schema import cascade_targets, database_views, known_tables, name_in_keys, tracked_columns
from ..sql import (
    Write,
    created_temporary_table,
    is_complete_once_executed,
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
from ..writes import UnitOfWork, block, is_active, unit_of_work_of
from . import cursor_hooks

# Other methods of connections than commit() by which a transaction ends that no atomic block began.
FOLLOWED = ("set_autocommit", "close")
# Stands for a statement whose text is not known: it may write any table.
UNREADABLE = "DO unreadable"
# Verbs of statements that may delete rows.
DELETING = ("delete", "replace", "")
# After these a single write has surely changed nothing.
HARMLESS_ERRORS = (IntegrityError, ProgrammingError, DataError)


def install() -> None:
    """Put the guard on all connections, those of the future included."""
    cursor_hooks.install(_enclose)
    connection_created.connect(_on_connection, dispatch_uid="cacheops_lite.orm.execute_wrapper")
    connection_created.connect(database_views.on_connection, dispatch_uid="cacheops_lite.schema.database_views")
    for connection in connections.all(initialized_only=True):
        _on_connection(connection=connection)


def uninstall() -> None:
    """Take the guard off this task's connections and those of the future."""
    cursor_hooks.uninstall()
    connection_created.disconnect(dispatch_uid="cacheops_lite.orm.execute_wrapper")
    connection_created.disconnect(dispatch_uid="cacheops_lite.schema.database_views")
    database_views.forget_all()
    for connection in connections.all(initialized_only=True):
        if statement_guard in connection.execute_wrappers:
            connection.execute_wrappers.remove(statement_guard)
            for method in ("commit", *FOLLOWED):
                delattr(connection, method)


def _on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if statement_guard not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, statement_guard)
        _follow_commits(connection)
    cursor_hooks.watch_debug_cursors(connection)


def _follow_commits(connection: BaseDatabaseWrapper) -> None:
    """Of what is about to be committed, and of commits outside of atomic blocks, no hook of Django's tells: on this
    connection these methods do."""
    # Not the connection itself, which would then outlive its thread.
    reference = weakref.ref(connection)

    def followed(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        unit_of_work_of(reference()).before_end()  # type: ignore[arg-type]
        try:
            return original(reference(), *args, **kwargs)
        finally:
            unit_of_work_of(reference()).committed()  # type: ignore[arg-type]

    def commit(original: Callable[..., Any]) -> None:
        connection: Any = reference()
        unit = unit_of_work_of(connection)
        try:
            unit.before_commit()
        except BaseException:
            # Django rolls back only after errors of the database.  After others it turns autocommit on, which
            # commits on SQLite and MariaDB.
            _roll_back(connection)
            raise
        try:
            original(connection)
        except (DatabaseError, InterfaceError):
            unit.commit_failed(connection.is_usable)
            raise
        except BaseException:
            unit.commit_failed(partial(_is_over, connection))
            raise
        unit.committed()

    connection.commit = partial(commit, type(connection).commit)  # type: ignore[method-assign]
    for method in FOLLOWED:
        setattr(connection, method, partial(followed, getattr(type(connection), method)))


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Undo the transaction, or close the connection, which the database then undoes it for."""
    try:
        connection.rollback()
    except Exception:
        with suppress(Exception):
            connection.close()


def _is_over(connection: BaseDatabaseWrapper) -> bool:
    """After an interrupt: the commit was executed, or will never be, as the database rolls back after it."""
    try:
        # By the driver: Django would forget what is to be done on commit.
        connection.connection.rollback()
    except Exception:
        return False
    return True


def statement_guard(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """An execute wrapper: before a statement that may write the transaction gets dirty, after it tables are dropped."""
    if type(sql) is str and only_reads(sql, context["connection"].vendor):
        return execute(sql, params, many, context)
    text, unit = _text(sql, context["connection"]), unit_of_work_of(context["connection"])
    if is_transaction_control(text):
        with _bounding(unit, text):
            return _guarded(execute, text, sql, params, many, context)
    try:
        return _guarded(execute, text, sql, params, many, context)
    finally:
        # Also if it failed: it committed before.
        if may_commit(text, context["connection"].vendor):
            _committed(unit)


@contextmanager
def _bounding(unit: UnitOfWork, text: str) -> Iterator[None]:
    """While a statement is executed by which a transaction may begin or end."""
    was_manual = unit.is_manual
    if was_manual:
        unit.before_end()
    try:
        yield
        unit.unmanaged.note(transaction_open_after(text))
    finally:
        if may_roll_back(text):
            database_views.on_rollback(unit.using)
        if may_commit(text, unit.vendor):
            _committed(unit)
        if was_manual and not unit.is_manual:
            unit.committed()


def _guarded(execute: Callable[..., Any], text: str, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    connection = context["connection"]
    if may_pin_snapshot(text):
        is_brief = connection.vendor == "postgresql" and is_transaction_local(text)
        unit_of_work_of(connection).snapshots.note(is_brief)
    write = parse_write(text)
    if write is None:
        return execute(sql, params, many, context)
    if write.table is None and (len(split_statements(text)) > 1 or may_write_any_table(text)):
        cursor_hooks.note_rest(context["cursor"])
    unit = unit_of_work_of(connection)
    is_alone = not many and not unit.in_transaction and is_active()
    if (
        is_alone
        and not unit.unmanaged.is_open
        and _is_the_one(connection)
        and _changes_some(write.table, connection.alias)
        and is_complete_once_executed(text, connection.vendor)
        and not keeps_partial_writes(text)
    ):
        # What it changed is told before it is committed.
        with block(connection.alias, savepoint=True):
            return _guarded(execute, text, sql, params, many, context)
    scope = unit.scope
    if scope is not None:
        scope.begins(write)
    unit.touch()
    try:
        if not many and scope is not None and scope.to_report(write, text, params):
            result = _reporting(execute, text, params, scope, context)
        else:
            result = execute(sql, params, many, context)
    except Exception as error:
        # Of several writes some may be done; and the connection may have been lost after one.
        is_undone = isinstance(error, HARMLESS_ERRORS) and not keeps_partial_writes(text)
        if many or write.table is None or not is_undone:
            _drop(unit, text, write)
        raise
    if temporary := created_temporary_table(text):
        unit.temporary_tables.note(temporary)
    if many or scope is None or not scope.claims(write, text, params):
        _drop(unit, text, write)
    elif write.table is not None:
        _drop_tables(unit, _changed_along({write.table}, write.verb, unit.using))
    return result


def _reporting(execute: Callable[..., Any], sql: str, params: Any, scope: Any, context: dict[str, Any]) -> Any:
    """Execute an UPDATE so that it tells what it replaced."""
    look = scope.returning_update
    result = execute(*look.before(sql, params, scope.condition), False, context)
    look.after(context["cursor"])
    return result


def _drop(unit: UnitOfWork, text: str, write: Write) -> None:
    what = "A write can't be analysed, so all tables are invalidated"
    if not error_boundary.call_or_default(what, lambda: _drop_written(unit, text, write), False):
        _drop_tables(unit, set(tracked_columns()))
        database_views.forget(unit.using)


def _drop_written(unit: UnitOfWork, text: str, write: Write) -> bool:
    tables = set() if write.table in unit.temporary_tables else set(_written(text, write))
    named = tables_mentioned(text, known_tables()) if write.table is None else _known_as(write.table)
    _drop_tables(unit, tables | _changed_along(named, write.verb, unit.using))
    if write.table is None and may_define_view(text):
        database_views.forget(unit.using)
    return True


def _known_as(table: str) -> set[str]:
    """The tables that a statement may mean which names one: some databases don't tell capitals apart."""
    known = known_tables()
    plain = database_views.normalized_name(table)
    return (
        {table}
        if table in known
        else {each for each in known if database_views.normalized_name(each) == plain} | {table}
    )


def _is_the_one(connection: BaseDatabaseWrapper) -> bool:
    """It is the one that atomic blocks are of, not one that somebody made beside it."""
    return connection.alias in connections.settings and connections[connection.alias] is connection


def _changes_some(table: str | None, using: str) -> bool:
    """A write of `table` may change rows of watched tables."""
    return table in tracked_columns() or bool(database_views.base_tables(table, using))


def _changed_along(tables: Collection[str], verb: str, using: str) -> set[str]:
    """The watched tables that a write of others changes as well: behind views, and where the database deletes along."""
    behind = database_views.base_tables_of(tables, using)
    # What is written to a view its triggers may turn into any other write of the tables behind it.
    deleted_from = behind.union(tables) if verb in DELETING else behind
    return (behind & tracked_columns().keys()).union(*map(cascade_targets, deleted_from))


def _committed(unit: UnitOfWork) -> None:
    """Django does not know that what was written may be committed by now."""
    if unit.scopes:
        # What is being written nobody described yet.
        _drop_tables(unit, tracked_columns())
    unit.flush_early()


def _drop_tables(unit: UnitOfWork, tables: Collection[str]) -> None:
    if tables and is_active():
        unit.record(WriteSet(tables=set(map(name_in_keys, tables))))


def _written(text: str, write: Write) -> Collection[str]:
    """The watched tables that a statement may write."""
    if write.table in tracked_columns():
        return {write.table}
    return set().union(*(_written_by(part, write) for part in split_statements(text)))


def _written_by(text: str, write: Write) -> set[str]:
    watched = tracked_columns()
    if may_write_any_table(text):
        return set(watched)
    if write.table is not None:
        # Of what Django does not know: it may be a view or a partition of what it does.
        written = database_views.normalized_name(write.table)
        named = {table for table in watched if database_views.normalized_name(table) == written}
        is_foreign = not named and written not in map(database_views.normalized_name, known_tables())
    else:
        named = tables_mentioned(text, watched)
        has_strangers = not tables_mentioned(text, known_tables()) or bool(unknown_write_targets(text, known_tables()))
        is_foreign = writes_rows(text) and has_strangers
    return set(watched) if is_foreign else named


@contextmanager
def _enclose(connection: BaseDatabaseWrapper, text: str | None) -> Iterator[None]:
    """What a cursor does past the wrappers; its text says which tables it may write, None any, and it may commit."""
    if text is not None and parse_write(text) is None:
        yield
        return
    unit = unit_of_work_of(connection)
    unit.touch()
    try:
        yield
    finally:
        _drop_enclosed(unit, text)
        if text is None:
            database_views.forget(unit.using)
            _committed(unit)


def _drop_enclosed(unit: UnitOfWork, text: str | None) -> None:
    named = set() if text is None else tables_mentioned(text, known_tables())
    if text is None or not named:
        _drop_tables(unit, set(tracked_columns()))
    else:
        _drop(unit, text, Write("", None))


def _text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    try:
        # Composed by psycopg.
        return str(sql.as_string(connection.connection))
    except Exception as error:
        error_boundary.log_failure("A statement can't be read, so all tables are invalidated", error)
        return UNREADABLE
