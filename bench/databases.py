"""The database of each worker: a copy of one that is filled once."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any


class SQLite:
    """SQLite in memory; each copy is restored from a file."""

    title = "SQLite, in memory"

    def __init__(self, run: str):
        self.path = str(Path(tempfile.gettempdir()) / f"{run}.sqlite3")

    def settings(self, copy: str | None) -> dict[str, Any]:
        """Return Django's settings for the original (None) or for a copy."""
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.path if copy is None else ":memory:"}

    def create(self) -> None:
        """Create the empty original."""
        self.drop([])

    def copy(self, name: str) -> None:
        """Create a copy; called before its process connects."""

    def connected(self) -> None:
        """Load the rows into the copy; called in its process."""
        from django.db import connection

        connection.ensure_connection()
        with sqlite3.connect(self.path) as source:
            source.backup(connection.connection)
        source.close()

    def drop(self, copies: list[str]) -> None:
        """Remove the original and the copies."""
        Path(self.path).unlink(missing_ok=True)


class PostgreSQL:
    """PostgreSQL over loopback; each copy is made by the server from a template."""

    title = "PostgreSQL over loopback"

    def __init__(self, run: str):
        self.run = run

    def settings(self, copy: str | None) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": self._name(copy),
            "USER": os.environ.get("BENCH_POSTGRESQL_USER", "root"),
            "PASSWORD": os.environ.get("BENCH_POSTGRESQL_PASSWORD", ""),
            "HOST": os.environ.get("BENCH_POSTGRESQL_HOST", "127.0.0.1"),
            "PORT": os.environ.get("BENCH_POSTGRESQL_PORT", "5432"),
            "CONN_MAX_AGE": None,
            # Waiting for the disk is not part of the comparison; its noise would hide what a cache adds to a write.
            "OPTIONS": {"options": "-c synchronous_commit=off"},
        }

    def create(self) -> None:
        self._execute(f'CREATE DATABASE "{self._name(None)}"')

    def copy(self, name: str) -> None:
        self._execute(f'CREATE DATABASE "{self._name(name)}" TEMPLATE "{self._name(None)}"')

    def connected(self) -> None:
        """Do nothing: the copy has the rows already."""

    def drop(self, copies: list[str]) -> None:
        for copy in (None, *copies):
            self._execute(f'DROP DATABASE IF EXISTS "{self._name(copy)}" WITH (FORCE)')

    def _name(self, copy: str | None) -> str:
        return self.run if copy is None else f"{self.run}_{copy.replace('-', '_')}"

    def _execute(self, sql: str) -> None:
        import psycopg

        settings = self.settings(None)
        with psycopg.connect(
            host=settings["HOST"],
            port=settings["PORT"],
            user=settings["USER"],
            password=settings["PASSWORD"],
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(sql)


DATABASES = {"sqlite": SQLite, "postgresql": PostgreSQL}
