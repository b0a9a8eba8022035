"""Shapes of dependencies as dependency indexes list them, and the dependencies of a shape that a row meets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from ..schema import DerivedCondition, derived_conditions, json_keys

# What a row meets that does not meet a derived condition.
NO_DEPENDENCY = ""
# The member that begins so identifies an index among all that a table ever had; names of columns never begin so.
INCARNATION_PREFIX = "@"
# The member that begins so is the epoch of the server that the index was made on.
EPOCH_PREFIX = "@@"
# And this is the time at which it was made, in seconds since 1970.
TIME_PREFIX = "@@@"


class Shape:
    """One shape: the columns of its conditions, and all columns that its results read (None: every column).

    `parts` are its conditions: the column and the derived condition, None for equality; `derived` has the latter only.
    `stored_columns` are the columns of the table that the conditions read: a key of JSON is not one of them.
    """

    __slots__ = ("_heads", "_tail", "columns", "derived", "joined", "parts", "reads", "stored_columns")

    def __init__(self, joined: str, read_id: str, read: str):
        self.joined = joined
        names = joined.split(",") if joined else []
        self.parts = tuple(map(parse_condition, names))
        self.columns = tuple(dict.fromkeys(column for column, _ in self.parts))
        self.derived = tuple((column, condition) for column, condition in self.parts if condition is not None)
        self.stored_columns = frozenset(json_keys.split_quoted(column)[0] for column in self.columns)
        self.reads = None if read_id == "*" else frozenset(filter(None, (read or read_id).split(",")))
        self._heads = tuple(
            f"{'&' * (i > 0)}{name}{'=' * (condition is None)}"
            for i, (name, (_, condition)) in enumerate(zip(names, self.parts, strict=True))
        )
        self._tail = f"|{read_id}"

    def reads_any(self, changed: Collection[str]) -> bool:
        """Return whether a result reads one of these columns, so that their change may change it."""
        return bool(changed) if self.reads is None else not self.reads.isdisjoint(changed)

    def has_condition_on_any(self, changed: Collection[str]) -> bool:
        """Return whether a condition is on one of these columns."""
        return not self.stored_columns.isdisjoint(changed)

    def dependency_of(self, image: Mapping[str, str]) -> str | None:
        """Return the dependency that a row with this image meets, None if the image lacks a column.

        NO_DEPENDENCY if the row does not meet a derived condition.
        """
        if self.derived:
            return self._derived_dependency_of(image)
        dependency = ""
        for column, head in zip(self.columns, self._heads, strict=True):
            token = image.get(column)
            if token is None:
                return None
            dependency += head + token
        return dependency + self._tail

    def _derived_dependency_of(self, image: Mapping[str, str]) -> str | None:
        dependency = ""
        for (column, condition), head in zip(self.parts, self._heads, strict=True):
            token = image.get(column)
            if token is None:
                return None
            if condition is None:
                dependency += head + token
            elif condition.is_met(token):
                dependency += head
            else:
                return NO_DEPENDENCY
        return dependency + self._tail

    def dependency(self, condition: str) -> str:
        """Return the dependency with the conditions ``"column=token&..."``."""
        return condition + self._tail


def parse_condition(name: str) -> tuple[str, DerivedCondition | None]:
    """Return the column and the derived condition of a part of a shape, such as ``price<100``; None for a column.

    A condition that this release does not know counts as a column that no image has.
    """
    found = derived_conditions.split_name(name)
    condition = None if found is None else derived_conditions.parse(found[1])
    return (name, None) if found is None or condition is None else (found[0], condition)


@lru_cache(maxsize=4096)
def parse(member: bytes) -> Shape | None:
    """Return the shape that a member of a dependency index stands for, None if the member is foreign."""
    try:
        columns, read_id, *read = member.decode().split("|")
    except ValueError:
        return None
    return Shape(columns, read_id, "".join(read)) if len(read) < 2 else None
