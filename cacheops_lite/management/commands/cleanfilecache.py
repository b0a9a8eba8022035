"""``manage.py cleanfilecache``."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...functions import FileCache

DEFAULT = "default"


class Command(BaseCommand):
    help = "Removes expired files of file caches.  Files that are not a file cache's own are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path",
            nargs="*",
            default=[DEFAULT],
            help="Directories of file caches; 'default' is FILE_CACHE_DIR, which is also what is cleaned without any.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # First all names, then all work: a mistake in the last one leaves nothing half done.
        caches = [_cache(path) for path in options["path"]]
        removed = sum(cache.clean() for cache in caches)
        if options["verbosity"] > 1:
            self.stdout.write(f"Removed {removed} expired file{'' if removed == 1 else 's'}.")


def _cache(path: str) -> FileCache:
    # The default directory is made by the first write.
    if path == DEFAULT:
        return FileCache()
    if not os.path.isdir(path):
        raise CommandError(f"There is no directory {path!r}.")
    return FileCache(path)
