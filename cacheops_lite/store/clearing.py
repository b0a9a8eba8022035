"""Remove everything that this package has stored under a prefix."""

from __future__ import annotations

from . import compression, keys
from .client import scan, unlink
from .time_limit import run_command

# How many keys Redis examines at a time.
KEYS_PER_SCAN = 1000


def clear(prefix: str) -> None:
    """Remove all keys of this package under `prefix` but counters, and no others, without blocking Redis."""
    compression.forget()
    pattern = keys.escape_glob(prefix + keys.NAMESPACE) + keys.CACHED_KIND_PATTERN + "*"
    for found in scan(pattern, KEYS_PER_SCAN):
        run_command(unlink, found)
