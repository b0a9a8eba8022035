"""Temporary tables, which a session has for itself until its connection is closed."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from .scope import known_tables


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
