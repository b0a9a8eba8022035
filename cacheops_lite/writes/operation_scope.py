"""Frames: operations in progress whose statements somebody describes by row images.

A statement that no frame claims is described by nobody, and drops its table's table version.  Where more statements come
than the operation needs, as receivers of signals may send some of their own, the ones too many are not claimed: so
whichever is whose, what is not described is dropped.
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

    def begins(self, write: Write) -> None:
        """To be called before a statement is executed that may belong to the operation."""

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        """The statement, which has been executed, is part of the operation."""
        return write.verb == self.verb and write.table in self.tables

    def to_report(self, write: Write, sql: str, parameters: Any) -> bool:
        """The statement, which is about to be executed, is to tell what it replaces."""
        return False


class SaveScope(OperationScope):
    """A save into one table: at most one UPDATE, by the row's own key, and one INSERT.

    `key` is the condition on the own key as it ends an UPDATE, with its parameter; None if it has none yet.
    """

    def __init__(self, table: str, key: tuple[str, Any] | None):
        super().__init__("", [table])
        self.table = table
        # Takes a look with the UPDATE, if somebody asks for what the row was.
        self.returning_update: Any = None
        self._key = key
        self._claimed: set[str] = set()

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        if write.table != self.table or write.verb in self._claimed:
            return False
        if write.verb == "insert" or (write.verb == "update" and self._is_of_own_key(sql, parameters)):
            self._claimed.add(write.verb)
            return True
        return False

    def to_report(self, write: Write, sql: str, parameters: Any) -> bool:
        """The statement is the UPDATE that is to tell what the row was."""
        return (
            self.returning_update is not None
            and write == ("update", self.table)
            and "update" not in self._claimed
            and self._is_of_own_key(sql, parameters)
        )

    @property
    def condition(self) -> str:
        """That on the own key, as it ends an UPDATE."""
        return "" if self._key is None else self._key[0]

    def fits(self, created: bool | None) -> bool:
        """What was claimed is what a save does that, or that did not, create its row; None: that nobody described."""
        if created is None:
            return not self._claimed
        return created or "insert" not in self._claimed

    def _is_of_own_key(self, sql: str, parameters: Any) -> bool:
        if self._key is None or not parameters or parameters[-1] != self._key[1]:
            return False
        return sql.endswith(self._key[0]) or f"{self._key[0]} RETURNING " in sql


class DeleteScope(OperationScope):
    """A delete of collected rows by their keys: no more of them than were looked at; of `models`, looked at or not.

    Where constraints can't be deferred, such rows lose their references first.  Rows are looked at, and locked, by the
    looks of their models, each right before the first statement on its table: in the order in which Django locks them.
    """

    def __init__(self, before_image_reads: Mapping[type[Model], Callable[[DeleteScope], None]]) -> None:
        super().__init__("delete", ())
        self.models = frozenset(before_image_reads)
        self._before_image_reads: dict[str, list[Callable[[DeleteScope], None]]] = {}
        for model, read in before_image_reads.items():
            self._before_image_reads.setdefault(model._meta.db_table, []).append(read)
        self._expected: Counter[tuple[str, str]] = Counter()

    def begins(self, write: Write) -> None:
        for read in self._before_image_reads.pop(write.table or "", ()):
            read(self)

    def expect(self, verb: str, table: str, rows: int) -> None:
        """Claim as many rows more of `table`."""
        self._expected[verb, table] += rows

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        statement, keys = (write.verb, write.table or ""), list(parameters or ())
        if write.verb == "update":
            assignment = sql.partition(" SET ")[2].partition(" WHERE ")[0]
            # What is set is NULL; since Django 6.1 as a parameter.
            if assignment.endswith(" = %s") and keys[:1] == [None]:
                keys.pop(0)
            elif not assignment.endswith(" = NULL"):
                return False
            if "," in assignment:
                return False
        if not 0 < len(keys) <= self._expected[statement]:
            return False
        self._expected[statement] -= len(keys)
        return True
