"""What reads within a transaction see: what is committed at that moment, or what was when it began."""

from __future__ import annotations

from typing import Any

READ_COMMITTED = {"read committed", "read_committed", "read uncommitted", "read_uncommitted"}


def pins_snapshots(connection: Any) -> bool:
    """Transactions of a connection see an older state than that of the moment, or may do so."""
    if connection.vendor not in ("postgresql", "mysql"):
        return True
    level = getattr(connection, "isolation_level", None)
    name = getattr(level, "name", level)
    if not isinstance(name, str) or name.lower() not in READ_COMMITTED:
        return True
    return connection.vendor == "postgresql" and _server_pins_snapshots(connection)


def _server_pins_snapshots(connection: Any) -> bool:
    """The PostgreSQL server has a default of its own, which Django does not ask for."""
    driver: Any = connection.connection
    if driver is None:
        return False
    # Of the driver's connection that it was asked on.
    asked_on, pins = connection.__dict__.get("_cacheops_server_pins", (None, False))
    if asked_on is not driver:
        try:
            # By the driver: it is no query of the project's.
            with driver.cursor() as cursor:
                cursor.execute("SHOW default_transaction_isolation")
                (level,) = cursor.fetchone()
        except Exception:
            # The transaction is broken: its reads are no good anyway.
            return True
        pins = level.lower() not in READ_COMMITTED
        connection._cacheops_server_pins = driver, pins
    return bool(pins)
