"""What this process came across lately, within bounds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruMap(Generic[K, V]):
    """A dict of at most twice `size` items, which forgets those that were not asked for lately.

    There are two generations of items: when the younger one is full it becomes the older one, which is forgotten.
    """

    __slots__ = ("_older", "_size", "_younger")

    def __init__(self, size: int):
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._younger: dict[K, V] = {}
        self._older: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value of `key`, None if it is not known."""
        value = self._younger.get(key)
        if value is None and (value := self._older.get(key)) is not None:
            self.put(key, value)
        return value

    def forget(self, key: K) -> None:
        """Forget the value of `key`."""
        self._younger.pop(key, None)
        self._older.pop(key, None)

    def put(self, key: K, value: V) -> None:
        """Remember `value`, which is not None."""
        if len(self._younger) >= self._size:
            self._older, self._younger = self._younger, {}
        self._younger[key] = value
