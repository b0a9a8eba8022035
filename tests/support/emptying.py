"""Empties the tables that a test filled, without the slow steps of ``manage.py flush``.

Django truncates every table after each test and creates all content types and permissions again: 0.1 to 0.5 seconds
per test, and most tests fill a handful of tables.  Here one query finds the tables that have rows, and ``DELETE``
empties these.  Content types and permissions stay as the migrations left them.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# Tables with rows that migrations create.  They stay; a test that changes them needs a real flush.
KEPT = ("django_content_type", "auth_permission")
_tables: dict[str, list[str]] = {}
_counts: dict[str, tuple[int, ...]] = {}
# Tables are emptied in any order, so foreign keys are checked later or not at all.
BEFORE = {"postgresql": "SET CONSTRAINTS ALL DEFERRED", "mysql": "SET foreign_key_checks = 0"}
AFTER = {"mysql": "SET foreign_key_checks = 1"}


def learn(connection: BaseDatabaseWrapper) -> None:
    """Remember the tables of a test database, and how many rows its migrations created in the kept ones."""
    existing = connection.introspection.django_table_names(only_existing=True, include_views=False)
    if not set(existing).issuperset(KEPT):
        # No test of this run uses this database: pytest-django has not created its tables.
        return
    _tables[connection.alias] = sorted(set(existing) - set(KEPT))
    with connection.cursor() as cursor:
        _counts[connection.alias] = _kept_rows(cursor)


def empty(connection: BaseDatabaseWrapper) -> bool:
    """Delete the rows of all tables but the kept ones; return False if a real flush is needed to restore those."""
    if connection.alias not in _tables:
        return False
    connection.ensure_connection()
    # The cursor of the driver: the package adds wrappers to Django's cursors, which need not see these statements.
    with transaction.atomic(using=connection.alias), closing(connection.connection.cursor()) as cursor:
        if _kept_rows(cursor) != _counts[connection.alias]:
            return False
        filled = _filled(cursor, connection)
        around = (BEFORE.get(connection.vendor), AFTER.get(connection.vendor))
        for statement in (around[0], *(f"DELETE FROM {table}" for table in filled), around[1]):
            if statement:
                cursor.execute(statement)
    return True


def _kept_rows(cursor: Any) -> tuple[int, ...]:
    cursor.execute("SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in KEPT))
    return tuple(cursor.fetchone())


def _filled(cursor: Any, connection: BaseDatabaseWrapper) -> list[str]:
    """Return the quoted names of the tables that have rows."""
    quoted = [connection.ops.quote_name(table) for table in _tables[connection.alias]]
    cursor.execute(
        " UNION ALL ".join(
            f"SELECT {number} FROM (SELECT 1 AS one) AS row WHERE EXISTS (SELECT 1 FROM {table})"
            for number, table in enumerate(quoted)
        )
    )
    return [quoted[number] for (number,) in cursor.fetchall()]
