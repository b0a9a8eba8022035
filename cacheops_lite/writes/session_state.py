"""State of a database session that Django does not track: transactions that a statement began, snapshots that were
requested, temporary tables."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..schema import known_tables
from ..utils import error_boundary

# Transaction states as psycopg and psycopg2 number them.
IDLE, UNKNOWN = 0, 4
READ_COMMITTED = {"read committed", "read uncommitted"}
# SQL that returns the isolation level of a session's transactions, whether the server or the session has set it.
ISOLATION_LEVEL_SQL = {
    "postgresql": "SHOW default_transaction_isolation",
    "mysql": "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')",
}


class SnapshotRequests:
    """Statements on a connection that request transactions with a pinned snapshot."""

    def __init__(self, connection: Any):
        # A proxy, as the connection owns this object.
        self._connection = connection
        # The driver's connection that the request is for, and the outermost atomic block that it is limited to, if any.
        self._requested: tuple[Any, Any] = None, None

    def add(self, current_transaction_only: bool) -> None:
        """Note that a statement requested pinned snapshots, for the session or for the current transaction only."""
        blocks, driver = self._connection.atomic_blocks, self._connection.connection
        if not (current_transaction_only and blocks):
            self._requested = driver, None
        elif self._requested != (driver, None):
            self._requested = driver, blocks[0]

    @property
    def is_requested(self) -> bool:
        """Whether the current transaction may have a pinned snapshot by request."""
        driver, block = self._requested
        if driver is None or driver is not self._connection.connection:
            return False
        return block is None or self._connection.atomic_blocks[:1] == [block]


def pins_snapshots(connection: Any) -> bool:
    """Return whether transactions of a connection may read a state older than the latest commit."""
    if connection.vendor not in ("postgresql", "mysql"):
        return True
    level = getattr(connection, "isolation_level", None)
    name = getattr(level, "name", level)
    if not isinstance(name, str) or _normalized(name) not in READ_COMMITTED:
        return True
    return _session_pins_snapshots(connection)


def _normalized(level: str) -> str:
    return level.lower().replace("-", " ").replace("_", " ")


def _session_pins_snapshots(connection: Any) -> bool:
    """Ask the database for the session's isolation level, once per connection of the driver.

    Django does not ask for it: the server may have another default, or the session may have been configured.
    """
    driver: Any = connection.connection
    if driver is None:
        return False
    asked_on, pins = connection.__dict__.get("_cacheops_server_pins", (None, False))
    if asked_on is not driver:
        try:
            # Past Django, so that it is not counted or logged as a query of the application.
            with driver.cursor() as cursor:
                cursor.execute(ISOLATION_LEVEL_SQL[connection.vendor])
                level = cursor.fetchone()[-1]
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            # The transaction is broken, so its reads are not usable either.
            return True
        pins = _normalized(level) not in READ_COMMITTED
        connection._cacheops_server_pins = driver, pins
    return bool(pins)


class UnmanagedTransaction:
    """Whether a connection has a transaction open that Django does not manage.

    Its owner ends it, so no rows are locked in it on behalf of the cache.
    """

    def __init__(self, connection: BaseDatabaseWrapper):
        # A proxy, as the connection owns this object.
        self._connection = connection
        # The driver's connection on which a statement began one.
        self._begun_on: Any = None

    @property
    def is_begun_by_statement(self) -> bool:
        connection = self._connection
        begun_on = self._begun_on
        return begun_on is not None and begun_on is connection.connection and not connection.in_atomic_block

    @property
    def is_open(self) -> bool:
        """Whether a statement or the driver began one."""
        connection = self._connection
        driver: Any = connection.connection
        if self.is_begun_by_statement:
            return True
        if driver is None or connection.in_atomic_block or not connection.autocommit:
            return False
        if connection.vendor == "sqlite":
            return bool(driver.in_transaction)
        return getattr(getattr(driver, "info", None), "transaction_status", IDLE) not in (IDLE, UNKNOWN)

    def after_statement(self, begins: bool | None) -> None:
        """Note that a statement was executed that may begin a transaction (True) or end it (False)."""
        driver = self._connection.connection
        if self._connection.vendor == "sqlite":
            begins = driver is not None and driver.in_transaction
        if begins is not None and not self._connection.in_atomic_block:
            self._begun_on = driver if begins else None

    def mark_ended(self) -> None:
        """Note that it was committed or rolled back."""
        self._begun_on = None


class TemporaryTables:
    """Temporary tables of a connection, by their names in lower case."""

    def __init__(self, connection: BaseDatabaseWrapper):
        # A proxy, as the connection owns this object.
        self._connection = connection
        # The driver's connection that has them, and their names.
        self._names: tuple[Any, frozenset[str]] = None, frozenset()
        # The driver's connection on which one has the name of a model's table.
        self._hides_model_tables_on: Any = None

    def add(self, table: str) -> None:
        """Note that a temporary table was created.

        One with the name of a model's table hides that table.  It may be dropped again before a later write, which
        then is one of the model's table; so its name is not kept as that of a temporary table.
        """
        driver = self._connection.connection
        if table in map(str.lower, known_tables()):
            self._hides_model_tables_on = driver
        else:
            self._names = driver, (self._names[1] if self._names[0] is driver else frozenset()) | {table}

    def __contains__(self, table: str | None) -> bool:
        """Return whether `table` is temporary.  Then it is neither a view nor a partition."""
        driver, names = self._names
        return table is not None and driver is self._connection.connection and table.lower() in names

    @property
    def hide_model_tables(self) -> bool:
        """Whether the session may read a temporary table in place of a model's."""
        return self._hides_model_tables_on is not None and self._hides_model_tables_on is self._connection.connection
