"""Transactions of which Django does not know: a statement began them, or the driver was told to."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

# Of drivers of PostgreSQL.
IDLE, UNKNOWN = 0, 4


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
