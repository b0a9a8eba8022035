"""``verify --sample N``: compare cached results with the database."""

from __future__ import annotations

import random
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...inspection import Verdict, load, number_of_keys, value_keys, verify
from .arguments import positive
from .output import print_json, print_table, progress_bar


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sample", type=positive, default=100, help="how many results to compare, 100 by default")
    parser.add_argument("--label", help="only those of a model such as blog.Article")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    verdicts: Counter[Verdict] = Counter()
    differing: list[str] = []
    keys = _sample(command, options["sample"], options["label"])
    with progress_bar(command.stderr, "Comparing", len(keys)) as progress:
        for done, key in enumerate(keys):
            verdict = verify(key)
            verdicts[verdict] += 1
            if verdict is Verdict.DIFFERENT:
                differing.append(key)
            progress(done + 1)
    if options["json"]:
        counts = {verdict.value: verdicts[verdict] for verdict in Verdict}
        print_json(command.stdout, {"compared": len(keys), "verdicts": counts, "differing": differing})
    else:
        _print(command, len(keys), verdicts, differing)
    if differing:
        raise CommandError(f"{len(differing)} cached results differ from the database", returncode=1)


def _sample(command: BaseCommand, size: int, label: str | None) -> list[str]:
    """Return keys that are drawn at random, each with the same chance (reservoir sampling, as in Vitter 1985)."""
    chosen: list[str] = []
    with progress_bar(command.stderr, "Scanning", number_of_keys()) as progress:
        seen = 0
        for key in value_keys(progress):
            if label is not None:
                value = load(key)
                if value is None or value.label.lower() != label.lower():
                    continue
            seen += 1
            if len(chosen) < size:
                chosen.append(key)
            elif (place := random.randrange(seen)) < size:
                chosen[place] = key
    return chosen


def _print(command: BaseCommand, number: int, verdicts: Counter[Verdict], differing: list[str]) -> None:
    rows = [(verdict.value, verdicts[verdict]) for verdict in Verdict]
    print_table(command.stdout, f"{number:,} cached results beside the database", ("verdict", "results"), rows)
    for key in differing:
        value = load(key)
        command.stdout.write(f"{key}: {value.operation} of {value.label}: {value.text}" if value else key)
    if verdicts[Verdict.NOT_COMPARABLE]:
        command.stdout.write(
            "Not comparable are results of functions, of raw() and of queries that are not the same each time."
        )
