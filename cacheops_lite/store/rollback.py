"""Notice that an older state of the database in Redis has come back while connections stayed open, and remove it.

After ``SWAPDB``, or ``DEBUG RELOAD`` of an old file, the server is the same, but its versions are of an earlier time.
Once a second, every process that uses the cache reads a clock in Redis and advances it.  If the clock has gone back, an
older state is there: then everything of this package is removed before this process reads again.
"""

from __future__ import annotations

import logging

from . import keys, server_epoch
from .client import stripped_source
from .invalidator import postpone
from .namespaces import all_prefixes, prefix_of
from .write_set import WriteSet

logger = logging.getLogger("cacheops_lite")

# The name of the clock in keys.
CLOCK = "clock"


def clock_key(tag: str = "") -> str:
    """Return the key of the clock.  Each node of a cluster has its own, whose hash tag leads to it."""
    try:
        return keys.database_key(prefix_of(), CLOCK + tag)
    except Exception:
        # The prefix depends on the query; the application's function may raise anything without one.
        return keys.database_key("", CLOCK + tag)


def _command(key: str, latest_ms: int) -> tuple[object, ...]:
    return "EVAL", stripped_source("check_server"), 1, key, latest_ms


def _remove_everything() -> None:
    logger.warning("An older state of the Redis database has come back, so everything that is cached is removed")
    postpone({prefix: WriteSet(everything=True) for prefix in all_prefixes()})


def install() -> None:
    """Read the clock with each check of the server."""
    server_epoch.install_probe(server_epoch.Probe(clock_key, _command, _remove_everything))


def uninstall() -> None:
    """Stop doing so."""
    server_epoch.install_probe(None)
