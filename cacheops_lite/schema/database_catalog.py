"""What a database's catalog says of tables: which of them show rows of others, or replace rows by themselves.

The catalog is asked past Django's cursors: tests that count queries, query logs and execute wrappers see nothing of it.
It is asked for names first; definitions, which take longer to compose, only if one of the names is a model's table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from django.db import connections

from ..utils import error_boundary

# Schema and name of what may show rows of others, or replace rows.
NAMES = {
    "postgresql": """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        UNION ALL SELECT n.nspname, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind NOT IN ('i', 'I')""",
    "mysql": """SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE LIKE '%VIEW'""",
    "sqlite": """SELECT 'main', name FROM sqlite_master WHERE type = 'view' OR sql LIKE '%conflict%'
        OR sql LIKE '%virtual%' UNION ALL SELECT 'temp', name FROM sqlite_temp_master WHERE type = 'view'""",
}
# The schema, whether it may be left out, the name and the definition of each view.
# On PostgreSQL any schema may be left out, as search paths change.
DEFINITIONS = {
    "postgresql": """SELECT n.nspname, true, c.relname, pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        -- Rows of a partition, or of a table that inherits, are its parent's.
        UNION ALL SELECT n.nspname, true, c.relname, string_agg(p.relname, ' ')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class p ON p.oid = i.inhparent WHERE c.relkind NOT IN ('i', 'I')
        GROUP BY n.nspname, c.oid, c.relname""",
    "mysql": """SELECT TABLE_SCHEMA, TABLE_SCHEMA = DATABASE(), TABLE_NAME, VIEW_DEFINITION
        FROM information_schema.VIEWS
        WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')""",
    # A virtual table, as one of full-text search, may show what another table holds.
    "sqlite": """SELECT 'main', 1, name, sql FROM sqlite_master
        WHERE type = 'view' OR sql LIKE 'create virtual table%' OR (type = 'table' AND sql LIKE '%conflict%')
        UNION ALL SELECT 'temp', 1, name, sql FROM sqlite_temp_master WHERE type = 'view'""",
}
# A constraint of SQLite's tables by which an INSERT or UPDATE deletes the rows that are in its way.
REPLACES = re.compile(r"\s*CREATE\s+(?:TEMP\w*\s+)?TABLE\b.*\bON\s+CONFLICT\s+REPLACE\b", re.IGNORECASE | re.DOTALL)
ORDINARY = re.compile(r"\s*CREATE\s+(?:TEMP\w*\s+)?TABLE\b", re.IGNORECASE)
# Of `transaction_status` as libpq tells it.
IDLE, BROKEN = 0, 3


class Catalog(NamedTuple):
    """The definitions of views by their names, with the schema and, where it may be left out, without; the names of
    tables whose constraints replace rows."""

    texts: dict[str, str]
    replacing: frozenset[str]


def read(using: str, tables: Collection[str]) -> Catalog:
    """What the catalog says, if one of `tables` is a view or replaces rows; else nothing.

    Raises whatever the driver does; a transaction that is open goes on nevertheless.
    """
    connection: Any = connections[using]
    with _kept_whole(connection), closing(connection.create_cursor()) as cursor:
        if connection.vendor not in NAMES:
            kinds = connection.introspection.get_table_list(cursor)
            return Catalog({plain_name(kind.name): "" for kind in kinds if kind.type == "v"}, frozenset())
        wanted = set(map(plain_name, tables))
        # Those of other schemas of MariaDB are not among the names.
        if not any("." in table for table in wanted):
            cursor.execute(NAMES[connection.vendor])
            if wanted.isdisjoint(plain_name(name) for _, name in cursor.fetchall()):
                return Catalog({}, frozenset())
        cursor.execute(DEFINITIONS[connection.vendor])
        return _composed(cursor.fetchall())


def _composed(rows: Collection[Any]) -> Catalog:
    texts: dict[str, str] = {}
    replacing = set()
    for schema, may_be_left_out, name, text in rows:
        if ORDINARY.match(text or ""):
            if REPLACES.match(text):
                replacing.add(plain_name(name))
            continue
        texts[plain_name(f"{schema}.{name}")] = text or ""
        if may_be_left_out:
            texts[plain_name(name)] = f"{texts.get(plain_name(name), '')} {text or ''}".strip()
    return Catalog(texts, frozenset(replacing))


def can_be_asked(using: str) -> bool:
    """The connection, which is made if there is none, is in no transaction that an error has broken."""
    connection: Any = connections[using]
    connection.ensure_connection()
    return not connection.needs_rollback and _status(connection) != BROKEN


@contextmanager
def _kept_whole(connection: Any) -> Iterator[None]:
    """An error within leaves the transaction as it was, also on PostgreSQL, where it would break it."""
    if connection.vendor != "postgresql" or (_status(connection) == IDLE and connection.get_autocommit()):
        yield
        return
    with closing(connection.create_cursor()) as cursor:
        cursor.execute("SAVEPOINT cacheops_catalog")
        try:
            yield
        except BaseException:
            _undo(cursor)
            raise
        cursor.execute("RELEASE SAVEPOINT cacheops_catalog")


def _undo(cursor: Any) -> None:
    try:
        cursor.execute("ROLLBACK TO SAVEPOINT cacheops_catalog")
        cursor.execute("RELEASE SAVEPOINT cacheops_catalog")
    except Exception as error:
        # What led here says more: an interrupt, or that the connection is lost.
        error_boundary.pass_interrupt(error)


def _status(connection: Any) -> int:
    """Of its transaction, on PostgreSQL; elsewhere an error of one statement breaks none."""
    return int(connection.connection.info.transaction_status) if connection.vendor == "postgresql" else IDLE


def plain_name(table: Any) -> str:
    """A name as views are told by: in lower case, with no quotes, which some put around schema and name."""
    return re.sub(r'["`]', "", str(table)).lower()
