"""``manage.py cleanfilecache``."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...functions import FileCache

DEFAULT = "default"


class Command(BaseCommand):
    help = "Removes expired files of file caches.  Other files in their directories are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path",
            nargs="*",
            default=[DEFAULT],
            help="Directories of file caches.  'default', which is also the default, stands for FILE_CACHE_DIR.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Check all paths before the first removal: a wrong path must not leave the work half done.
        caches = [_cache_in(path) for path in options["path"]]
        removed = sum(cache.clean() for cache in caches)
        if options["verbosity"] > 1:
            self.stdout.write(f"Removed {removed} expired file{'' if removed == 1 else 's'}.")


def _cache_in(path: str) -> FileCache:
    # The default directory may not exist yet: the first write creates it.
    if path == DEFAULT:
        return FileCache()
    if not os.path.isdir(path):
        raise CommandError(f"There is no directory {path!r}. Pass the directory of a file cache, or 'default'.")
    return FileCache(path)
