"""Which programs keep keys in the database of Redis.  Only groups of names are shown, as names may be secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...store import keys
from .findings import Finding
from .session import Session, known_prefixes

# The number of calls of SCAN, and of keys that each of them looks at.
MAX_CALLS, KEYS_PER_CALL = 20, 500
MAX_GROUPS = 8
# How many values of the simple cache are asked for their timeout.
MAX_SIMPLE = 100
NO_TIMEOUT = -1
KINDS = {
    "v": "results",
    "t": "table versions",
    "i": "dependency indexes",
    "d": "dependency versions",
    "c": "conjunction sets",
    "f": "fences",
    "l": "locks",
    "s": "values of the simple cache",
    "n": "counters",
    "q": "queries",
    "b": "notes about databases",
    "r": "registrations of near caches",
}
_OWN = re.compile(f"(.*?){keys.NAMESPACE}({keys.KIND_PATTERN})", re.DOTALL)
# Programs that are known by their keys, and whether they lose messages by an eviction.
_KNOWN = (
    (re.compile(r"_kombu|unacked|celery"), "Celery", True),
    (re.compile(r"asgi"), "Channels", True),
    (re.compile(r"rq:"), "RQ", True),
    (re.compile(r"bull:"), "BullMQ", True),
    (re.compile(r":\d+:"), "Django's cache framework", False),
    (re.compile(r"conj:"), "django-cacheops", False),
)


@dataclass
class _Contents:
    """Keys of this package by kind, their prefixes, and some of the simple cache; other keys by group.

    `has_queue` tells that keys of a queue are among the others, and `is_sample` that there are more keys.
    """

    own: Counter[str] = field(default_factory=Counter)
    prefixes: set[str] = field(default_factory=set)
    simple: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    has_queue: bool = False
    is_sample: bool = False


def examine_contents(session: Session) -> Iterator[Finding]:
    """Count the keys of this package by kind, and those of other programs by group, in a sample."""
    contents = _sample(session)
    of_sample = ", in a sample" if contents.is_sample else ""
    kinds = ", ".join(f"{number} {KINDS[kind]}" for kind, number in contents.own.most_common()) or "no keys"
    yield Finding("contents", "ok", f"This package has {kinds}{of_sample}.")
    yield from _without_timeout(session, contents.simple)
    yield from _other_programs(contents, of_sample)


def _without_timeout(session: Session, simple: list[str]) -> Iterator[Finding]:
    """Report values of the simple cache that never expire."""
    found = sum(session.ask("TTL", key) == NO_TIMEOUT for key in simple)
    if found:
        yield Finding(
            "simple-timeouts",
            "info",
            f"{found} of {len(simple)} values of the simple cache that were looked at never expire.",
            "Only deleting them removes them, or an eviction by one of the allkeys policies. If their keys depend on "
            "arguments, URLs or users, they become more and more.",
            "Pass a timeout to cached(), cached_view() and cache.set(), or set CACHEOPS_SIMPLE_TIMEOUT for those "
            "without one.",
        )


def _other_programs(contents: _Contents, of_sample: str) -> Iterator[Finding]:
    known = known_prefixes() or []
    others, losing = contents.others, contents.has_queue
    foreign = sorted(prefix for prefix in contents.prefixes if prefix not in known)
    if foreign:
        yield Finding(
            "other-programs",
            "info",
            f"Keys with {len(foreign)} other prefixes are those of other projects or tenants with cacheops_lite, such "
            f"as {foreign[0]!r}.",
            "They share the memory of this server.",
        )
    if not others:
        yield Finding("other-programs", "ok", f"No key of another program was found{of_sample}.")
        return
    groups = ", ".join(f"{name} ({number})" for name, number in others.most_common(MAX_GROUPS))
    yield Finding(
        "other-programs",
        "warning" if losing else "info",
        f"Other programs use this database, too{of_sample}: {groups}.",
        "FLUSHDB, which cache.clear() of Django's Redis cache executes, removes all cached results"
        + ("; an eviction policy that suits a cache loses messages of queues." if losing else ", which costs misses."),
        "Give the cache a database of its own, such as redis://.../1; next to a queue, a server of its own.",
    )


def _sample(session: Session) -> _Contents:
    contents, cursor = _Contents(), "0"
    for _ in range(MAX_CALLS):
        cursor, found = session.ask("SCAN", cursor, "COUNT", KEYS_PER_CALL)
        for key in found:
            match = _OWN.match(key)
            if match:
                kind = match[2][0]
                contents.own[kind] += 1
                # Some notes about databases lack the name of the database in their prefix.
                if kind != "b":
                    contents.prefixes.add(match[1])
                if kind == "s" and len(contents.simple) < MAX_SIMPLE:
                    contents.simple.append(key)
            else:
                group, is_queue = _group(key)
                contents.others[group] += 1
                contents.has_queue = contents.has_queue or is_queue
        if int(cursor) == 0:
            break
    contents.is_sample = int(cursor) != 0
    return contents


def _group(key: str) -> tuple[str, bool]:
    """Return a name for keys like this one, and whether they are those of a queue."""
    for pattern, name, is_queue in _KNOWN:
        if pattern.match(key):
            return name, is_queue
    head = re.match(r"[A-Za-z_]{1,20}(?=[:./-])", key)
    return f"{head[0]}…" if head else "names without a prefix", False
