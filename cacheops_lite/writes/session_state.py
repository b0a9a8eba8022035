"""What a database session is in the middle of without Django knowing: transactions that a statement began, snapshots
that were asked for, temporary tables."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..schema import known_tables
from ..utils import error_boundary

# Transaction states as PostgreSQL's drivers count them.
IDLE, UNKNOWN = 0, 4
READ_COMMITTED = {"read committed", "read uncommitted"}
# What tells the level that a session's transactions have, whoever set it.
QUESTIONS = {
    "postgresql": "SHOW default_transaction_isolation",
    "mysql": "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')",
}


class SnapshotRequests:
    """Statements on a connection that ask for transactions that see what was when they began."""

    def __init__(self, connection: Any):
        # A proxy: who holds this belongs to the connection.
        self._connection = connection
        # On which connection of the driver's it was asked for, and of which atomic block if not all.
        self._asked: tuple[Any, Any] = None, None

    def note(self, is_brief: bool) -> None:
        """To be called after such a statement; `is_brief`, if it asks for the transaction that is open only."""
        blocks, driver = self._connection.atomic_blocks, self._connection.connection
        if not (is_brief and blocks):
            self._asked = driver, None
        elif self._asked != (driver, None):
            self._asked = driver, blocks[0]

    @property
    def are_asked_for(self) -> bool:
        """The transaction that is open may be such a one."""
        driver, block = self._asked
        if driver is None or driver is not self._connection.connection:
            return False
        return block is None or self._connection.atomic_blocks[:1] == [block]


def pins_snapshots(connection: Any) -> bool:
    """Transactions of a connection see an older state than that of the moment, or may do so."""
    if connection.vendor not in ("postgresql", "mysql"):
        return True
    level = getattr(connection, "isolation_level", None)
    name = getattr(level, "name", level)
    if not isinstance(name, str) or _plain(name) not in READ_COMMITTED:
        return True
    return _session_pins_snapshots(connection)


def _plain(level: str) -> str:
    return level.lower().replace("-", " ").replace("_", " ")


def _session_pins_snapshots(connection: Any) -> bool:
    """The server has a default of its own, which Django does not ask for, or somebody set one for this connection."""
    driver: Any = connection.connection
    if driver is None:
        return False
    # Of the driver's connection that it was asked on.
    asked_on, pins = connection.__dict__.get("_cacheops_server_pins", (None, False))
    if asked_on is not driver:
        try:
            # By the driver: it is no query of the project's.
            with driver.cursor() as cursor:
                cursor.execute(QUESTIONS[connection.vendor])
                level = cursor.fetchone()[-1]
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            # The transaction is broken: its reads are no good anyway.
            return True
        pins = _plain(level) not in READ_COMMITTED
        connection._cacheops_server_pins = driver, pins
    return bool(pins)


class Unmanaged:
    """Whether such a transaction is open on a connection: it is its owner's, and no rows are locked in it."""

    def __init__(self, connection: BaseDatabaseWrapper):
        # A proxy: who holds this belongs to the connection.
        self._connection = connection
        # The driver's connection on which a statement began one.
        self._begun_on: Any = None

    @property
    def is_begun(self) -> bool:
        """A statement began it."""
        connection = self._connection
        begun_on = self._begun_on
        return begun_on is not None and begun_on is connection.connection and not connection.in_atomic_block

    @property
    def is_open(self) -> bool:
        """A statement began it, or the driver did."""
        connection = self._connection
        driver: Any = connection.connection
        if self.is_begun:
            return True
        if driver is None or connection.in_atomic_block or not connection.autocommit:
            return False
        if connection.vendor == "sqlite":
            return bool(driver.in_transaction)
        return getattr(getattr(driver, "info", None), "transaction_status", IDLE) not in (IDLE, UNKNOWN)

    def note(self, begins: bool | None) -> None:
        """To be called after a statement that may have begun one (True) or ended it (False)."""
        driver = self._connection.connection
        if self._connection.vendor == "sqlite":
            begins = driver is not None and driver.in_transaction
        if begins is not None and not self._connection.in_atomic_block:
            self._begun_on = driver if begins else None

    def ended(self) -> None:
        """To be called when it was committed or undone."""
        self._begun_on = None


class TemporaryTables:
    """Those of a connection, by their names in lower case."""

    def __init__(self, connection: BaseDatabaseWrapper):
        # A proxy: who holds this belongs to the connection.
        self._connection = connection
        # On which connection of the driver's they are; and on which there are some in place of models' tables.
        self._names: tuple[Any, frozenset[str]] = None, frozenset()
        self._hides_tables_on: Any = None

    def note(self, table: str) -> None:
        """One was made.  Named like a model's, it hides that, and may be gone again when that is written to."""
        driver = self._connection.connection
        if table in map(str.lower, known_tables()):
            self._hides_tables_on = driver
        else:
            self._names = driver, (self._names[1] if self._names[0] is driver else frozenset()) | {table}

    def __contains__(self, table: str | None) -> bool:
        """The table is one, and neither a view nor a partition."""
        driver, names = self._names
        return table is not None and driver is self._connection.connection and table.lower() in names

    @property
    def hide_tables(self) -> bool:
        """What the session reads of a model may be its own."""
        return self._hides_tables_on is not None and self._hides_tables_on is self._connection.connection
