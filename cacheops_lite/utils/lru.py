"""A bounded map that forgets the items that were least recently used."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruMap(Generic[K, V]):
    """An approximate LRU map: it keeps at least the `size` most recently used items, and at most twice as many.

    Items lie in two dicts.  When the younger one is full it becomes the older one, and the old items are dropped.
    So neither `get` nor `put` has to keep items in order.
    """

    __slots__ = ("_older", "_size", "_younger")

    def __init__(self, size: int):
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Remove all items."""
        self._younger: dict[K, V] = {}
        self._older: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return the value of `key`, or None if there is none."""
        value = self._younger.get(key)
        if value is None and (value := self._older.get(key)) is not None:
            self.put(key, value)
        return value

    def forget(self, key: K) -> None:
        """Remove `key`, if it is there."""
        self._younger.pop(key, None)
        self._older.pop(key, None)

    def put(self, key: K, value: V) -> None:
        """Set the value of `key`, which must not be None."""
        if len(self._younger) >= self._size:
            self._older, self._younger = self._younger, {}
        self._younger[key] = value
