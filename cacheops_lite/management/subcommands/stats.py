"""``stats``: what became of the reads of all processes, by model and operation, and what writes invalidated."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ...inspection import MAX_MINUTES, ReadStatistics, Statistics, statistics
from .arguments import positive
from .output import print_json, print_table

COLUMNS = ("model", "operation", "hits", "misses", "bypasses", "hit rate %", "seconds saved", "why not")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=positive, default=60, help=f"of the last minutes, 60 by default, at most {MAX_MINUTES}"
    )
    parser.add_argument("--watch", action="store_true", help="print anew every two seconds, until Ctrl-C")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    while True:
        found = statistics(options["minutes"])
        if options["json"]:
            print_json(command.stdout, found.as_dict())
        else:
            print_statistics(command, found)
        if not options["watch"]:
            return
        command.stdout.flush()
        try:
            time.sleep(2)
        except KeyboardInterrupt:
            return


def print_statistics(command: BaseCommand, found: Statistics) -> None:
    """Print the tables of reads and of writes."""
    print_table(
        command.stdout, f"Reads of the last {found.minutes} minutes", COLUMNS, [_row(row) for row in found.reads]
    )
    writes = [(each.label, each.writes, each.invalidations) for each in found.writes]
    print_table(command.stdout, "Writes", ("model", "writes", "invalidated dependencies"), writes)
    verified = sum(each.verified for each in found.reads)
    if verified:
        differing = sum(each.differing for each in found.reads)
        command.stdout.write(f"{verified} hits were compared with the database, {differing} differed.")


def _row(each: ReadStatistics) -> tuple[Any, ...]:
    rate = None if each.hit_rate is None else each.hit_rate * 100
    reasons = ", ".join(f"{name} {number}" for name, number in each.reasons.most_common())
    return each.label, each.operation, each.hits, each.misses, each.bypasses, rate, each.saved_seconds, reasons
