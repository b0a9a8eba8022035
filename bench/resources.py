"""What Redis pays: its time for one change that many results rest on, and memory."""

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
    """Redis' time for one save of a row that many cached results rest on."""

    name, title, bound = "dependents", f"one change, {FULL.dependents:,} dependents: Redis time", 0.02
    # With cachalot nothing rests on rows.
    only = CACHES - {"cachalot"}
    every = 0

    def block(self) -> float:
        client = redis.Redis.from_url(self.peer.redis_url)
        empty(client)
        depend(range(self.scale.dependents))
        return time_of_change(client)


def depend(numbers: range) -> None:
    """Have so many results rest on the first author's row."""
    cached_as = import_module(settings.INSTALLED_APPS[0]).cached_as

    @cached_as(Author.objects.filter(pk=1), timeout=TIMEOUT)
    def result(number: int) -> int:
        return number

    for number in numbers:
        result(number)


def time_of_change(client: redis.Redis) -> float:
    """Microseconds of Redis for saving the first author.  Raises Disturbed."""
    author = Author.objects.get(pk=1)
    author.name = "Another" if author.name != "Another" else "Author 0"
    check(client)
    before = _spent(client)
    author.save()
    return min(after - begun for begun, after in zip(before, _spent(client), strict=True))


def _spent(client: redis.Redis) -> tuple[float, float]:
    """Microseconds that Redis has spent in scripts, which is what both libraries invalidate with, and of the processor.

    The first includes what it waited for the processor, the second all commands.
    """
    commands: Any = client.info("commandstats")
    processor: Any = client.info("cpu")
    scripts = sum(commands.get(f"cmdstat_{name}", {}).get("usec", 0) for name in SCRIPTS)
    return scripts, 1e6 * (processor["used_cpu_user_main_thread"] + processor["used_cpu_sys_main_thread"])


class Memory(Operation):
    """Bytes of all keys that come with getting rows by primary key, for each row."""

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
    """Bytes of all keys of a database.  Raises Disturbed."""
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
