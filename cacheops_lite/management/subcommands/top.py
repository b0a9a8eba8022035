"""``top``: the dependencies that most results share, the largest results, and the memory of each model."""

from __future__ import annotations

import heapq
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from ...inspection import StoredValue, hottest_dependencies, load, number_of_keys, value_keys
from .arguments import positive
from .output import print_json, print_table, progress_bar

# On a larger server a sample of so many values is loaded; SCAN returns keys in no order that matters.
SAMPLE = 20_000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--limit", type=positive, default=10, help="rows of each table, 10 by default")
    parser.add_argument(
        "--sample", type=positive, default=SAMPLE, help=f"load at most so many values, {SAMPLE} by default"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    number, sizes, counts, largest = _walk(command, options["sample"], options["limit"])
    hottest = hottest_dependencies(options["limit"])
    is_sample = number >= options["sample"]
    if options["json"]:
        print_json(
            command.stdout,
            {
                "values": number,
                "is_sample": is_sample,
                "hottest_dependencies": [{"dependency": name, "values": count} for name, count in hottest],
                "largest_results": [value.as_dict() for value in largest],
                "bytes_by_label": dict(sizes.most_common()),
                "values_by_label": dict(counts),
            },
        )
        return
    where = f"a sample of {number:,} values" if is_sample else f"{number:,} values"
    memory = [(label or "unknown", counts[label], size) for label, size in sizes.most_common(options["limit"])]
    print_table(command.stdout, f"Memory of {where}", ("model or function", "values", "bytes"), memory)
    rows = [(value.size, value.label, value.operation, value.key) for value in largest]
    print_table(command.stdout, "Largest results", ("bytes", "model or function", "operation", "key"), rows)
    print_table(command.stdout, "Dependencies that most results share", ("dependency", "values"), hottest)
    if not hottest:
        command.stdout.write("Which results share a dependency is not known with CACHEOPS_INSIDEOUT.")


def _walk(command: BaseCommand, sample: int, limit: int) -> tuple[int, Counter[str], Counter[str], list[StoredValue]]:
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    largest: list[tuple[int, str, StoredValue]] = []
    with progress_bar(command.stderr, "Scanning", number_of_keys()) as progress:
        for key in value_keys(progress):
            value = load(key)
            if value is None:
                continue
            sizes[value.label] += value.size
            counts[value.label] += 1
            heapq.heappush(largest, (value.size, key, value))
            if len(largest) > limit:
                heapq.heappop(largest)
            if sum(counts.values()) >= sample:
                break
    return sum(counts.values()), sizes, counts, [value for *_, value in sorted(largest, key=lambda each: -each[0])]
