"""Operation scopes: ORM operations in progress that claim the statements they send.

The operation describes what its claimed statements change by row images.  A statement that no scope claims has no such
description, so the table version of its table is dropped.  Signal receivers may send statements of the same form while
an operation runs.  A scope claims no more statements than the operation needs, so each statement too many is treated as
undescribed, whichever of them it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db.models import Model

from ..sql import Write


class OperationScope:
    """Claims every statement of one verb on some tables."""

    def __init__(self, verb: str, tables: Iterable[str]):
        self.verb = verb
        self.tables = frozenset(tables)

    def before_statement(self, write: Write) -> None:
        """Prepare for a statement that is about to be executed and that may belong to the operation."""

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        """Return whether the statement, which has been executed, is part of the operation."""
        return write.verb == self.verb and write.table in self.tables

    def wants_before_image(self, write: Write, sql: str, parameters: Any) -> bool:
        """Return whether the statement, which is about to be executed, is to return the row that it replaces."""
        return False


class SaveScope(OperationScope):
    """A save into one table: at most one UPDATE of the instance's own row, and one INSERT.

    `key` is the condition on the primary key at the end of the UPDATE, with its parameter; None if the instance has no
    key yet.
    """

    def __init__(self, table: str, key: tuple[str, Any] | None):
        super().__init__("", [table])
        self.table = table
        # Reads the before image as part of the UPDATE, if some dependency shape needs it.
        self.returning_update: Any = None
        self._key = key
        self._claimed_verbs: set[str] = set()

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        if write.table != self.table or write.verb in self._claimed_verbs:
            return False
        if write.verb == "insert" or (write.verb == "update" and self._is_for_own_row(sql, parameters)):
            self._claimed_verbs.add(write.verb)
            return True
        return False

    def wants_before_image(self, write: Write, sql: str, parameters: Any) -> bool:
        return (
            self.returning_update is not None
            and write == ("update", self.table)
            and "update" not in self._claimed_verbs
            and self._is_for_own_row(sql, parameters)
        )

    @property
    def key_condition(self) -> str:
        """The condition on the primary key at the end of the UPDATE; empty without a key."""
        return "" if self._key is None else self._key[0]

    def is_consistent_with(self, created: bool | None) -> bool:
        """Return whether a save with the outcome `created` sends just the claimed statements.

        None stands for an unknown outcome: then no statement may have been claimed.
        """
        if created is None:
            return not self._claimed_verbs
        return created or "insert" not in self._claimed_verbs

    def _is_for_own_row(self, sql: str, parameters: Any) -> bool:
        if self._key is None or not parameters or parameters[-1] != self._key[1]:
            return False
        return sql.endswith(self._key[0]) or f"{self._key[0]} RETURNING " in sql


class DeleteScope(OperationScope):
    """A delete of collected rows by their keys.

    It claims statements on no more rows than it expects; see `expect`.  `models` are all models of the operation, with
    or without expected rows.  Where the database cannot defer constraints, Django first sets references between the
    deleted rows to NULL.

    `before_image_reads` read and lock the rows of each model.  Each is called right before the first statement on its
    table, so that rows are locked in the order in which Django alone locks them.
    """

    def __init__(self, before_image_reads: Mapping[type[Model], Callable[[DeleteScope], None]]) -> None:
        super().__init__("delete", ())
        self.models = frozenset(before_image_reads)
        self._before_image_reads: dict[str, list[Callable[[DeleteScope], None]]] = {}
        for model, read in before_image_reads.items():
            self._before_image_reads.setdefault(model._meta.db_table, []).append(read)
        self._expected_rows: Counter[tuple[str, str]] = Counter()

    def before_statement(self, write: Write) -> None:
        for read in self._before_image_reads.pop(write.table or "", ()):
            read(self)

    def expect(self, verb: str, table: str, rows: int) -> None:
        """Claim statements of `verb` on that many more `rows` of `table`."""
        self._expected_rows[verb, table] += rows

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        statement, keys = (write.verb, write.table or ""), list(parameters or ())
        if write.verb == "update":
            assignment = sql.partition(" SET ")[2].partition(" WHERE ")[0]
            # Since Django 6.1 NULL is a parameter.
            if assignment.endswith(" = %s") and keys[:1] == [None]:
                keys.pop(0)
            elif not assignment.endswith(" = NULL"):
                return False
            if "," in assignment:
                return False
        if not 0 < len(keys) <= self._expected_rows[statement]:
            return False
        self._expected_rows[statement] -= len(keys)
        return True
