"""Lower bounds: the time to get the same rows as plain tuples from Redis, and from memory."""

from __future__ import annotations

import pickle
from typing import Any

import redis

from .operations import Operation, plain


class Floor(Operation):
    """A read without the ORM; subclasses say where its rows come from."""

    is_hit = True

    def __init__(self, read: Operation):
        super().__init__(read.peer, read.scale)
        self.calls, self.name = read.calls, read.name  # type: ignore[misc]
        read.before()
        self.store(plain(read.call()))

    def store(self, rows: Any) -> None:
        raise NotImplementedError


class Get(Floor):
    """A GET and unpickling."""

    def store(self, rows: Any) -> None:
        self.client = redis.Redis.from_url(self.peer.redis_url)
        self.key = f"floor:{self.name}"
        self.client.set(self.key, pickle.dumps(rows, pickle.HIGHEST_PROTOCOL))

    def call(self) -> Any:
        return pickle.loads(self.client.get(self.key))


class Memory(Floor):
    """A lookup in a dictionary and a copy of the list."""

    def store(self, rows: Any) -> None:
        self.rows = {self.name: rows}

    def call(self) -> Any:
        rows = self.rows[self.name]
        return list(rows) if isinstance(rows, tuple) else rows


FLOORS = {"get": Get, "memory": Memory}
