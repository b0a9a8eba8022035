"""``advise``: which models and operations to cache, by the counters of the last hours."""

from __future__ import annotations

from argparse import ArgumentParser
from pprint import pformat
from typing import Any

from django.core.management.base import BaseCommand

from ...inspection import MAX_MINUTES, advise, statistics
from .arguments import positive
from .output import print_json


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=positive, default=MAX_MINUTES, help=f"by the last minutes, {MAX_MINUTES} by default"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    advice = advise(statistics(options["minutes"]))
    if options["json"]:
        print_json(command.stdout, advice.as_dict())
        return
    for reason in advice.reasons or ["The counters give no reason to change CACHEOPS."]:
        command.stdout.write(f"# {reason}")
    command.stdout.write(f"CACHEOPS = {pformat(advice.cacheops, sort_dicts=False)}")
