"""Measure the costs of Redis: its time for one change that many results depend on, and its memory."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import redis
from django.conf import settings

from .library.models import Author, Book
from .operations import FULL, Operation
from .peers import TIMEOUT
from .redisdbs import check, empty

CACHES = frozenset({"cacheops", "cacheops-insideout", "cachalot", "ours", "ours-insideout"})
SCRIPTS = ("eval", "evalsha", "fcall")


class Dependents(Operation):
    """Redis' time for one save of a row that many cached results depend on."""

    name, title, bound = "dependents", f"one change, {FULL.dependents:,} dependents: Redis time", 0.02
    # With cachalot, results depend on tables, not on rows.
    only = CACHES - {"cachalot"}
    every = 0

    def block(self) -> float:
        client = redis.Redis.from_url(self.peer.redis_url)
        empty(client)
        depend(range(self.scale.dependents))
        return time_of_change(client)


def depend(numbers: range) -> None:
    """Cache a result for each of `numbers` that depends on the row of the first author."""
    cached_as = import_module(settings.INSTALLED_APPS[0]).cached_as

    @cached_as(Author.objects.filter(pk=1), timeout=TIMEOUT)
    def result(number: int) -> int:
        return number

    for number in numbers:
        result(number)


def time_of_change(client: redis.Redis) -> float:
    """Return the microseconds that Redis spends on a save of the first author.  Raises DatabaseInUse."""
    author = Author.objects.get(pk=1)
    author.name = "Another" if author.name != "Another" else "Author 0"
    check(client)
    before = _spent(client)
    author.save()
    return min(after - begun for begun, after in zip(before, _spent(client), strict=True))


def _spent(client: redis.Redis) -> tuple[float, float]:
    """Return the microseconds that Redis has spent in scripts, and its processor time in microseconds.

    Both libraries invalidate by scripts.  The first figure includes waiting for the processor, the second all commands.
    """
    commands: Any = client.info("commandstats")
    processor: Any = client.info("cpu")
    scripts = sum(commands.get(f"cmdstat_{name}", {}).get("usec", 0) for name in SCRIPTS)
    return scripts, 1e6 * (processor["used_cpu_user_main_thread"] + processor["used_cpu_sys_main_thread"])


class Memory(Operation):
    """The bytes of all keys per row, after rows were read by primary key."""

    name, title, unit = "memory", "memory per cached single row", "bytes"
    bound, insideout_bound = 1.2, 0.9
    only = CACHES
    every = 0

    def block(self) -> float:
        client = redis.Redis.from_url(self.peer.redis_url)
        empty(client)
        for pk in range(1, self.scale.singles + 1):
            Book.objects.get(pk=pk)
        return memory(client) / self.scale.singles


def memory(client: redis.Redis) -> int:
    """Return the bytes of all keys of a database.  Raises DatabaseInUse."""
    check(client)
    keys = list(client.scan_iter(count=1000))
    pipe = client.pipeline(transaction=False)
    total = 0
    for start in range(0, len(keys), 1000):
        for key in keys[start : start + 1000]:
            pipe.memory_usage(key, samples=0)
        total += sum(each or 0 for each in pipe.execute())
    return total


RESOURCES = (Dependents, Memory)
