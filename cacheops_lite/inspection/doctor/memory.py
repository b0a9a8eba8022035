"""How much memory the server has, and what it does when that is full."""

from __future__ import annotations

from collections.abc import Iterator

from django.template.defaultfilters import filesizeformat

from .findings import Finding
from .session import Refused, Session

NEARLY_FULL = 0.95
FRAGMENTED = 1.5
MUCH_MEMORY = 100 * 2**20


def examine_eviction(session: Session) -> Iterator[Finding]:
    """Report the limit of memory and the policy of eviction."""
    info = session.info("memory")
    limit = int(info.get("maxmemory") or session.config_or_none("maxmemory") or -1)
    policy = info.get("maxmemory_policy") or session.config_or_none("maxmemory-policy")
    if limit < 0 or policy is None:
        raise Refused("CONFIG", "its limit of memory is not told")
    used = int(info.get("used_memory", 0))
    if limit == 0:
        yield Finding(
            "eviction",
            "warning",
            f"maxmemory is not set (maxmemory-policy {policy}).",
            "Nothing limits the memory of the cache but the timeouts of results; when the machine has no more, the "
            "operating system may kill Redis.",
            "CONFIG SET maxmemory 1gb, or another limit, and CONFIG SET maxmemory-policy allkeys-lru; the same in "
            "redis.conf.",
        )
        return
    share = f"{used / limit:.0%} of maxmemory {filesizeformat(limit)} are used"
    if policy == "noeviction":
        yield Finding(
            "eviction",
            "error" if used >= NEARLY_FULL * limit else "warning",
            f"maxmemory-policy is noeviction, and {share}.",
            "When memory is full, nothing can be stored: cached queries raise OutOfMemoryError, or with "
            "CACHEOPS_DEGRADE_ON_FAILURE are read from the database, and invalidations are delayed.",
            "CONFIG SET maxmemory-policy allkeys-lru: losing any key costs a miss, never a stale result.",
        )
    elif policy.startswith("volatile-"):
        yield Finding(
            "eviction",
            "info",
            f"maxmemory-policy is {policy}, and {share}.",
            "Only keys with a timeout are evicted: nearly all of this package, but none of a program that sets no "
            "timeout and fills the memory.",
            "Use allkeys-lru if this server is only a cache.",
        )
    else:
        yield Finding("eviction", "ok", f"maxmemory-policy is {policy}, and {share}.")


def examine_memory(session: Session) -> Iterator[Finding]:
    """Report how much memory is used."""
    info = session.info("memory")
    used, peak = int(info.get("used_memory", 0)), int(info.get("used_memory_peak", 0))
    ratio = float(info.get("mem_fragmentation_ratio") or 1)
    found = (
        f"{filesizeformat(used)} are used, at most {filesizeformat(peak)} since the start, fragmentation {ratio:.1f}."
    )
    if used > MUCH_MEMORY and ratio > FRAGMENTED:
        yield Finding(
            "memory",
            "info",
            found,
            "The server occupies that many times the memory of its data.",
            "CONFIG SET activedefrag yes, where the server was built with jemalloc; or restart it.",
        )
    else:
        yield Finding("memory", "ok", found)
