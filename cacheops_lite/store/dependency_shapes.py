"""Schemes as the dependency indexes of tables tell them, and the versions that rows meet of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

# What the member begins with that tells one dependency index of a table from those before and after it; no name does.
INCARNATION = "@"


class Shape:
    """One shape: the columns of its conditions, and those that its results read (None: all), which include them."""

    __slots__ = ("_heads", "_named", "_tail", "columns", "joined", "reads")

    def __init__(self, joined: str, read_id: str, read: str):
        self.joined = joined
        self.columns = tuple(joined.split(",")) if joined else ()
        self._named = frozenset(self.columns)
        self.reads = None if read_id == "*" else frozenset(filter(None, (read or read_id).split(",")))
        self._heads = tuple(f"{'&' * (i > 0)}{column}=" for i, column in enumerate(self.columns))
        self._tail = f"|{read_id}"

    def concerns(self, changed: Collection[str]) -> bool:
        """A change of these columns alone may change a result."""
        return bool(changed) if self.reads is None else not self.reads.isdisjoint(changed)

    def names(self, changed: Collection[str]) -> bool:
        """Its conditions name one of these columns."""
        return not self._named.isdisjoint(changed)

    def dependency_of(self, image: Mapping[str, str]) -> str | None:
        """The version that a row with that image meets, None if the image does not tell."""
        dependency = ""
        for column, head in zip(self.columns, self._heads, strict=True):
            token = image.get(column)
            if token is None:
                return None
            dependency += head + token
        return dependency + self._tail

    def dependency(self, condition: str) -> str:
        """The version of ``"column=token&..."``."""
        return condition + self._tail


@lru_cache(maxsize=4096)
def parse(member: bytes) -> Shape | None:
    """The shape of a dependency index's member, None of what is foreign."""
    try:
        columns, read_id, *read = member.decode().split("|")
    except ValueError:
        return None
    return Shape(columns, read_id, "".join(read)) if len(read) < 2 else None
