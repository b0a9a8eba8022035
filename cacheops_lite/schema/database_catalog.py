"""Read from a database's catalog which tables show rows of other tables, and which have constraints that replace rows.

The queries bypass Django's cursors, so that tests that count queries, query logs and execute wrappers do not see them.
The first query reads names only.  Definitions take longer to compose: they are read only if a name is a model's table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from django.db import connections

from ..utils import error_boundary

# Schema and name of tables and views that may show rows of other tables, or replace rows.
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
# Schema, whether a query may leave out the schema, name and definition of each view.
# On PostgreSQL a query may leave out any schema, as search paths change.
DEFINITIONS = {
    "postgresql": """SELECT n.nspname, true, c.relname, pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        -- Rows of a partition, or of a table that inherits, are rows of its parent as well.
        UNION ALL SELECT n.nspname, true, c.relname, string_agg(p.relname, ' ')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class p ON p.oid = i.inhparent WHERE c.relkind NOT IN ('i', 'I')
        GROUP BY n.nspname, c.oid, c.relname""",
    "mysql": """SELECT TABLE_SCHEMA, TABLE_SCHEMA = DATABASE(), TABLE_NAME, VIEW_DEFINITION
        FROM information_schema.VIEWS
        WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')""",
    # A virtual table may show the content of another table, as for full-text search.
    "sqlite": """SELECT 'main', 1, name, sql FROM sqlite_master
        WHERE type = 'view' OR sql LIKE 'create virtual table%' OR (type = 'table' AND sql LIKE '%conflict%')
        UNION ALL SELECT 'temp', 1, name, sql FROM sqlite_temp_master WHERE type = 'view'""",
}
# A constraint of SQLite by which an INSERT or UPDATE deletes the rows that conflict with the new one.
REPLACES_ROWS = re.compile(
    r"\s*CREATE\s+(?:TEMP\w*\s+)?TABLE\b.*\bON\s+CONFLICT\s+REPLACE\b", re.IGNORECASE | re.DOTALL
)
ORDINARY_TABLE = re.compile(r"\s*CREATE\s+(?:TEMP\w*\s+)?TABLE\b", re.IGNORECASE)
# Values of libpq's transaction status: not in a transaction; in one that an error has aborted.
IDLE, IN_ERROR = 0, 3


class Catalog(NamedTuple):
    """The views of a database, and the tables whose constraints replace rows.

    `definitions` has each view by its name with the schema, and by that without, where a query may leave it out.
    """

    definitions: dict[str, str]
    replacing: frozenset[str]


def read(using: str, tables: Collection[str]) -> Catalog:
    """Return the catalog if one of `tables` is a view or replaces rows, else an empty one.

    Raises the errors of the driver, after which an open transaction remains usable.
    """
    connection: Any = connections[using]
    with _keep_transaction_usable(connection), closing(connection.create_cursor()) as cursor:
        if connection.vendor not in NAMES:
            kinds = connection.introspection.get_table_list(cursor)
            return Catalog({normalized_name(kind.name): "" for kind in kinds if kind.type == "v"}, frozenset())
        wanted = set(map(normalized_name, tables))
        # On MariaDB the query for names returns those of one schema only.
        if not any("." in table for table in wanted):
            cursor.execute(NAMES[connection.vendor])
            if wanted.isdisjoint(normalized_name(name) for _, name in cursor.fetchall()):
                return Catalog({}, frozenset())
        cursor.execute(DEFINITIONS[connection.vendor])
        return _catalog_of(cursor.fetchall())


def _catalog_of(rows: Collection[Any]) -> Catalog:
    definitions: dict[str, str] = {}
    replacing = set()
    for schema, is_schema_optional, name, text in rows:
        if ORDINARY_TABLE.match(text or ""):
            if REPLACES_ROWS.match(text):
                replacing.add(normalized_name(name))
            continue
        definitions[normalized_name(f"{schema}.{name}")] = text or ""
        if is_schema_optional:
            definitions[normalized_name(name)] = f"{definitions.get(normalized_name(name), '')} {text or ''}".strip()
    return Catalog(definitions, frozenset(replacing))


def is_readable(using: str) -> bool:
    """Connect if necessary, and return whether the connection can execute queries.

    It cannot within a transaction that an error has aborted.
    """
    connection: Any = connections[using]
    connection.ensure_connection()
    return not connection.needs_rollback and _transaction_status(connection) != IN_ERROR


@contextmanager
def _keep_transaction_usable(connection: Any) -> Iterator[None]:
    """Keep an error in this block from aborting the open transaction: on PostgreSQL, use a savepoint."""
    if connection.vendor != "postgresql" or (_transaction_status(connection) == IDLE and connection.get_autocommit()):
        yield
        return
    with closing(connection.create_cursor()) as cursor:
        cursor.execute("SAVEPOINT cacheops_catalog")
        try:
            yield
        except BaseException:
            _roll_back_savepoint(cursor)
            raise
        cursor.execute("RELEASE SAVEPOINT cacheops_catalog")


def _roll_back_savepoint(cursor: Any) -> None:
    try:
        cursor.execute("ROLLBACK TO SAVEPOINT cacheops_catalog")
        cursor.execute("RELEASE SAVEPOINT cacheops_catalog")
    except Exception as error:
        # The error that led here says more: an interrupt, or that the connection is lost.
        error_boundary.reraise_interrupt(error)


def _transaction_status(connection: Any) -> int:
    """Return libpq's transaction status; on other databases an error of a statement aborts no transaction."""
    return int(connection.connection.info.transaction_status) if connection.vendor == "postgresql" else IDLE


def normalized_name(table: Any) -> str:
    """Return a name in lower case without quotes, as which `Catalog` has it; the name may contain a quoted schema."""
    return re.sub(r'["`]', "", str(table)).lower()
