"""What reads within a transaction see: what is committed at that moment, or what was when it began."""

from __future__ import annotations

from typing import Any

from . import bypass

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
            bypass.pass_interrupt(error)
            # The transaction is broken: its reads are no good anyway.
            return True
        pins = _plain(level) not in READ_COMMITTED
        connection._cacheops_server_pins = driver, pins
    return bool(pins)
