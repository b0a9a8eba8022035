"""Measure what derived conditions add to a write: ``python -m bench.conditions``, ``make bench-conditions``.

A write of a table whose shapes have 200 derived conditions finds what it meets: in memory, without Redis and
without a database.  Prints microseconds of processor time per write, the least of several rounds, as other processes
only add to it.  Ends with status 1 if one exceeds its bound.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import django
from django.conf import settings

CONDITIONS = 200
TWO_EDGES = "n <= price < m"
ROUNDS, REPETITIONS = 30, 200
# In microseconds: of 200 conditions that can be found by bisection, and of each other one.
BOUND, BOUND_OF_OTHERS = 50.0, 0.5

OLD = {"price": "19.99", "views": "120", "name": "copper%20wire", "category": "3", "created": "2026-01-01T05%3A00%3A00"}
NEW = {
    "price": "24.50",
    "views": "121",
    "name": "copper%20cable",
    "category": "3",
    "created": "2026-01-01T06%3A00%3A00",
}


def shapes_of(kind: str) -> list[str]:
    """Return members of a dependency index, with 200 derived conditions in all."""
    reads = "|category,created,name,price,views"
    made: dict[str, Callable[[int], str]] = {
        "price < n": lambda i: f"price<{i}",
        "price >= n, or < n": lambda i: f"price>={i}" if i % 2 else f"price<{i}",
        TWO_EDGES: lambda i: f"price<{i + 20},price>={i}",
        "category = ? and price < n": lambda i: f"category,price<{i}",
        "created >= a day": lambda i: f"created>='20{i % 100:02}-01-{1 + i // 100:02}",
        "views != n": lambda i: f"views!={i}",
        "name begins with a text": lambda i: f"name^text{i}",
        "name contains a text, in any case": lambda i: f"name*~text{i}",
    }
    each = 2 if kind == TWO_EDGES else 1
    return [made[kind](i) + reads for i in range(CONDITIONS // each)]


KINDS = {
    **dict.fromkeys(["price < n", "price >= n, or < n", TWO_EDGES, "category = ? and price < n"], BOUND),
    **dict.fromkeys(["created >= a day", "views != n"], BOUND),
    **dict.fromkeys(["name begins with a text", "name contains a text, in any case"], BOUND_OF_OTHERS * CONDITIONS),
}


def microseconds(kind: str) -> tuple[float, int]:
    """Return how long a write takes, and how many dependencies it meets."""
    from cacheops_lite.store.dependency_index import DependencyIndex
    from cacheops_lite.store.write_set import Change

    index = DependencyIndex([b"@incarnation", b"@@epoch", *(each.encode() for each in shapes_of(kind))])
    changes = [Change("t", OLD, NEW, ["price", "name", "views", "created"])]
    met = index.dependencies_of(changes)
    assert met is not None
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REPETITIONS):
            index.dependencies_of(changes)
        times.append((time.process_time() - began) / REPETITIONS * 1e6)
    return min(times), len(met)


def main() -> int:
    settings.configure(DATABASES={}, CACHEOPS_REDIS="redis://127.0.0.1:1/0")
    django.setup()
    print(f"What a write meets of {CONDITIONS} conditions, before and after image, in microseconds")
    is_within = True
    for kind, bound in KINDS.items():
        least, met = microseconds(kind)
        is_within = is_within and least <= bound
        print(f"{kind:36}{least:8.1f} of at most {bound:5.0f} {'' if least <= bound else '!':2}{met:4} met")
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
