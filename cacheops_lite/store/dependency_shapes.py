"""Shapes of dependencies as dependency indexes list them, and the dependencies of a shape that a row meets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

# The member that begins so identifies an index among all that a table ever had; names of columns never begin so.
INCARNATION_PREFIX = "@"
# The member that begins so is the epoch of the server that the index was made on.
EPOCH_PREFIX = "@@"


class Shape:
    """One shape: the columns of its conditions, and all columns that its results read (None: every column)."""

    __slots__ = ("_condition_columns", "_heads", "_tail", "columns", "joined", "reads")

    def __init__(self, joined: str, read_id: str, read: str):
        self.joined = joined
        self.columns = tuple(joined.split(",")) if joined else ()
        self._condition_columns = frozenset(self.columns)
        self.reads = None if read_id == "*" else frozenset(filter(None, (read or read_id).split(",")))
        self._heads = tuple(f"{'&' * (i > 0)}{column}=" for i, column in enumerate(self.columns))
        self._tail = f"|{read_id}"

    def reads_any(self, changed: Collection[str]) -> bool:
        """Return whether a result reads one of these columns, so that their change may change it."""
        return bool(changed) if self.reads is None else not self.reads.isdisjoint(changed)

    def has_condition_on_any(self, changed: Collection[str]) -> bool:
        """Return whether a condition is on one of these columns."""
        return not self._condition_columns.isdisjoint(changed)

    def dependency_of(self, image: Mapping[str, str]) -> str | None:
        """Return the dependency that a row with this image meets, None if the image lacks a column."""
        dependency = ""
        for column, head in zip(self.columns, self._heads, strict=True):
            token = image.get(column)
            if token is None:
                return None
            dependency += head + token
        return dependency + self._tail

    def dependency(self, condition: str) -> str:
        """Return the dependency with the conditions ``"column=token&..."``."""
        return condition + self._tail


@lru_cache(maxsize=4096)
def parse(member: bytes) -> Shape | None:
    """Return the shape that a member of a dependency index stands for, None if the member is foreign."""
    try:
        columns, read_id, *read = member.decode().split("|")
    except ValueError:
        return None
    return Shape(columns, read_id, "".join(read)) if len(read) < 2 else None
