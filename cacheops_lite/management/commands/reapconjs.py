"""``manage.py reapconjs``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...reaper import reap_conjs


class Command(BaseCommand):
    help = (
        "Removes members of sets of dependents whose values are gone.  The sets do so themselves as they are written; "
        "this is for those who schedule it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--chunk-size", type=int, default=1000, help="Keys to look at in one step (default: 1000).")
        parser.add_argument(
            "--min-conj-set-size", type=int, default=1000, help="Leave smaller sets alone (default: 1000)."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only tell how many there are to remove.")

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run = options["dry_run"]
        try:
            removed = reap_conjs(
                chunk_size=options["chunk_size"],
                min_conj_set_size=options["min_conj_set_size"],
                dry_run=dry_run,
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        # Quiet otherwise, as cron jobs should be.
        if dry_run or options["verbosity"] > 1:
            said = "Would remove" if dry_run else "Removed"
            self.stdout.write(f"{said} {removed} member{'' if removed == 1 else 's'}.")
