"""``doctor``: is the Redis that the settings name fit for the cache, and what should be changed?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...inspection import LEVELS, Examination, Finding, examine
from .output import print_findings, print_json

FAIL_LEVELS = ("error", "warning", "info")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--fail-level",
        choices=FAIL_LEVELS,
        default="error",
        help="exit with status 1 if a finding has this level or a more serious one, error by default",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    examination = examine()
    if options["json"]:
        print_json(command.stdout, examination.as_dict())
    else:
        _print(command, examination)
    limit = LEVELS.index(options["fail_level"])
    failing = [each for each in examination.findings if LEVELS.index(each.level) >= limit]
    if failing:
        raise CommandError(_summary(failing), returncode=1)


def _print(command: BaseCommand, examination: Examination) -> None:
    title = f"{examination.server} at {examination.address} ({examination.setting})"
    print_findings(command.stdout, title, examination.findings)


def _summary(failing: list[Finding]) -> str:
    ids = ", ".join(dict.fromkeys(each.id for each in failing))
    return f"{len(failing)} findings need attention: {ids}. docs/doctor.rst explains each."
