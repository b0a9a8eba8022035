"""What Redis pays: its time for one change that many results rest on, and memory."""

from __future__ import annotations

from typing import Any

import redis

from .library.models import Author, Book
from .operations import Operation
from .redisdbs import empty

CACHES = frozenset({"cacheops", "cacheops-insideout", "cachalot", "ours", "ours-insideout"})
SCRIPTS = ("eval", "evalsha", "fcall")


class Dependents(Operation):
    """Redis' time for one save, with many cached results on the row: in scripts, as that is what peers write with."""

    name, title, bound = "dependents", "one change, 50,000 dependents: Redis time", 0.02
    only = CACHES - {"cachalot"}
    every = 0
    results = 50_000

    def block(self, calls: int) -> float:
        client = redis.Redis.from_url(self.peer.redis_url)
        results = min(self.results, 5 * self.scale)
        depend(results)
        author = Author.objects.get(pk=1)
        author.name = "Dependents"
        before = script_time(client)
        author.save()
        return script_time(client) - before


def depend(results: int) -> None:
    """Have so many results rest on the first author's row."""
    module = __import__(_library(), fromlist=["cached_as"])

    @module.cached_as(Author.objects.filter(pk=1), timeout=600)
    def result(number: int) -> int:
        return number

    for number in range(results):
        result(number)


def _library() -> str:
    from django.conf import settings

    return settings.INSTALLED_APPS[0]


def script_time(client: redis.Redis) -> int:
    """Microseconds that Redis has spent in scripts since it started."""
    found: Any = client.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {}).get("usec", 0) for name in SCRIPTS)


class Memory(Operation):
    """Bytes of all keys that came with getting many rows by primary key, per row."""

    name, title, unit = "memory", "memory per cached single row", "bytes"
    bound, insideout_bound = 1.2, 0.9
    only = CACHES
    every = 0

    def block(self, calls: int) -> float:
        client = redis.Redis.from_url(self.peer.redis_url)
        empty(client)
        for pk in range(1, self.scale + 1):
            Book.objects.get(pk=pk)
        return memory(client) / self.scale


def memory(client: redis.Redis) -> int:
    """Bytes of all keys of a database."""
    total, batch = 0, []
    for key in client.scan_iter(count=1000):
        batch.append(key)
        if len(batch) == 1000:
            total += _usage(client, batch)
            batch = []
    return total + _usage(client, batch)


def _usage(client: redis.Redis, keys: list[bytes]) -> int:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.memory_usage(key, samples=0)
    return sum(each or 0 for each in pipe.execute())


RESOURCES = (Dependents, Memory)
