"""Tell databases apart by what they say of themselves: two of the same name on different servers, or one that was
dropped and created anew."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NamedTuple

from ..utils import error_boundary

# Of PostgreSQL: what `initdb` chose for the cluster, which physical replicas share, and the number of the database.
_POSTGRESQL_SQL = (
    "SELECT system_identifier::text, (SELECT oid::text FROM pg_database WHERE datname = current_database()) "
    "FROM pg_control_system()"
)
# MariaDB and MySQL number no databases.  Django creates this table first and never alters it.
_MYSQL_SQL = (
    "SELECT CONCAT(@@hostname, ':', @@port), create_time FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = 'django_migrations'"
)


class DatabaseIdentity(NamedTuple):
    """`database` differs between any two databases; `server` is where names of databases are unique."""

    server: str
    database: str


def identity_of_database(connection: Any) -> DatabaseIdentity | None:
    """Return the identity of the database that `connection` is connected to, None if it is not known.

    The statement is sent past Django, so that it is not counted or logged as a query of the application.  Call it
    outside of transactions only: an error would break them.
    """
    if connection.vendor == "sqlite":
        return _identity_of_file(sqlite_path(connection.settings_dict["NAME"]))
    sql = {"postgresql": _POSTGRESQL_SQL, "mysql": _MYSQL_SQL}.get(connection.vendor)
    if sql is None:
        return None
    driver = connection.connection
    try:
        with driver.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        row = None
    if not connection.autocommit:
        # The statement has begun a transaction.
        with suppress(Exception):
            driver.rollback()
    if row is None or row[1] is None:
        return None
    return DatabaseIdentity(str(row[0]), f"{row[0]}/{row[1]}" if connection.vendor == "postgresql" else str(row[1]))


def sqlite_path(name: Any) -> str:
    """Return the absolute path of an SQLite database, empty for one in memory."""
    text = os.fspath(name or "")
    if is_in_memory(text):
        return ""
    if text.startswith("file:"):
        text = text.removeprefix("file:").partition("?")[0]
        # A URI may have an authority, which is empty or "localhost".
        text = text.removeprefix("//localhost") if text.startswith("//localhost/") else text
    return os.path.realpath(text)


def is_in_memory(name: Any) -> bool:
    """Return whether the name of an SQLite database is that of one in memory."""
    text = os.fspath(name or "")
    return not text or ":memory:" in text or "mode=memory" in text


def _identity_of_file(path: str) -> DatabaseIdentity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return DatabaseIdentity(path, f"{found.st_dev}:{found.st_ino}")
