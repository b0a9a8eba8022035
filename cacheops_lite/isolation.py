"""What reads within a transaction see: what is committed at that moment, or what was when it began."""

from __future__ import annotations

from typing import Any

READ_COMMITTED = {"read committed", "read uncommitted"}
# What tells the level that a session's transactions have, whoever set it.
QUESTIONS = {
    "postgresql": "SHOW default_transaction_isolation",
    "mysql": "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')",
}


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
        except Exception:
            # The transaction is broken: its reads are no good anyway.
            return True
        pins = _plain(level) not in READ_COMMITTED
        connection._cacheops_server_pins = driver, pins
    return bool(pins)
