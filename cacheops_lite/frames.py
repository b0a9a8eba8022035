"""Frames: operations in progress whose statements somebody describes by row images.

A statement that no frame claims is described by nobody, and drops its table's generation.  Where more statements come
than the operation needs, as receivers of signals may send some of their own, the ones too many are not claimed: so
whichever is whose, what is not described is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .statements import Write


class Frame:
    """Claims every statement of one verb on some tables."""

    def __init__(self, verb: str, tables: Iterable[str]):
        self.verb = verb
        self.tables = frozenset(tables)

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        """The statement, which has been executed, is part of the operation."""
        return write.verb == self.verb and write.table in self.tables

    def is_over(self, blocks: list[Any]) -> bool:
        """It ended without saying so; `blocks` are the connection's atomic blocks."""
        return False


class SaveFrame(Frame):
    """A save: of each of its tables at most one UPDATE, by its row's own key, and one INSERT.

    `keys` are conditions on the own key as they end an UPDATE, with their parameter: {table: (text, value)}.
    """

    def __init__(self, tables: Iterable[str], keys: Mapping[str, tuple[str, Any]]):
        super().__init__("", tables)
        self.claimed: set[Write] = set()
        self._keys = keys

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        if write.verb not in ("insert", "update") or write.table not in self.tables or write in self.claimed:
            return False
        if write.verb == "update" and not self._is_of_own_key(write.table or "", sql, parameters):
            return False
        self.claimed.add(write)
        return True

    def fits(self, created: bool) -> bool:
        """What was claimed is what a save does that, or that did not, create its row."""
        return created or not any(write.verb == "insert" for write in self.claimed)

    def _is_of_own_key(self, table: str, sql: str, parameters: Any) -> bool:
        condition, value = self._keys.get(table, ("", None))
        if not condition or not parameters or parameters[-1] != value:
            return False
        return sql.endswith(condition) or f"{condition} RETURNING " in sql


class DeleteFrame(Frame):
    """A delete, of rows by their keys: no more of them than were looked at."""

    def __init__(self) -> None:
        super().__init__("delete", ())
        self._expected: Counter[str] = Counter()

    def expect(self, table: str, rows: int = 1) -> None:
        """Claim as many rows more of `table`."""
        self._expected[table] += rows

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        rows = len(parameters or ())
        if write.verb != "delete" or not 0 < rows <= self._expected[write.table or ""]:
            return False
        self._expected[write.table or ""] -= rows
        return True


class LinkFrame(Frame):
    """Rows of a many-to-many table that come or go, in an atomic block of Django's own: one statement."""

    def __init__(self, verb: str, table: str, block: Any):
        super().__init__(verb, [table])
        self._block = block
        self._done = False

    def claims(self, write: Write, sql: str, parameters: Any) -> bool:
        if self._done or not super().claims(write, sql, parameters):
            return False
        self._done = True
        return True

    def is_over(self, blocks: list[Any]) -> bool:
        return not any(block is self._block for block in blocks)
