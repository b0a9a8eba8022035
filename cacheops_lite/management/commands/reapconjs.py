"""``manage.py reapconjs``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...reaper import reap_conjs
from ..redis_errors import as_command_errors


class Command(BaseCommand):
    help = (
        "Removes dead members from conjunction sets.  The sets remove them by themselves when they are written; "
        "this command is kept for projects that schedule it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--chunk-size", type=int, default=1000, help="Number of keys to check in one step (default: 1000)."
        )
        parser.add_argument(
            "--min-conj-set-size", type=int, default=1000, help="Ignore sets with fewer members (default: 1000)."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Remove nothing; print how many members would be removed."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run = options["dry_run"]
        try:
            with as_command_errors("Conjunction sets can't be checked"):
                removed = reap_conjs(
                    chunk_size=options["chunk_size"],
                    min_conj_set_size=options["min_conj_set_size"],
                    dry_run=dry_run,
                )
        except ValueError as error:
            raise CommandError(str(error)) from error
        # No output by default: cron sends mail for each output.
        if dry_run or options["verbosity"] > 1:
            verb = "Would remove" if dry_run else "Removed"
            self.stdout.write(f"{verb} {removed} member{'' if removed == 1 else 's'}.")
