"""Say how much memory Redis takes, and what happens when it is full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ...store import call, server_clients

NO_LIMIT = (
    "Redis has no limit of its memory (maxmemory is 0), so it grows until the machine has no more. Set maxmemory, and "
    "maxmemory-policy to allkeys-lru or allkeys-lfu."
)
# By the beginning of maxmemory-policy.
POLICIES = {
    "noeviction": "When the memory is full, Redis refuses writes: results are not stored, and invalidations fail. A "
    "cache should evict instead, by maxmemory-policy allkeys-lru or allkeys-lfu.",
    "allkeys-lru": "When the memory is full, Redis evicts the keys that were used longest ago. This suits a cache: an "
    "evicted key costs a miss.",
    "allkeys-lrm": "When the memory is full, Redis evicts the keys that were changed longest ago. An evicted key costs "
    "a miss.",
    "allkeys-lfu": "When the memory is full, Redis evicts the keys that are used least often. This suits a cache: an "
    "evicted key costs a miss.",
    "allkeys-random": "When the memory is full, Redis evicts any keys. An evicted key costs a miss; allkeys-lru would "
    "keep those that are in use.",
    "volatile-": "When the memory is full, Redis evicts keys that have a timeout. If other programs fill it with keys "
    "without one, the cache has to give way.",
}


@dataclass(slots=True)
class Memory:
    """The memory of Redis, of all nodes of a cluster, in bytes; `limit` is 0 if there is none.

    `sentence` says what the policy means.
    """

    used: int
    limit: int
    policy: str
    evicted_keys: int
    sentence: str

    @property
    def share(self) -> float | None:
        """Return the part of the limit that is used; None without a limit."""
        return self.used / self.limit if self.limit else None


def memory() -> Memory | None:
    """Return the memory of Redis; None if it does not tell, as the embedded Redis.  Raises errors of Redis."""
    try:
        infos: list[Mapping[str, Any]] = [
            call(lambda: {**client.info("memory"), **client.info("stats")})  # noqa: B023
            for client in call(server_clients).values()
        ]
    except redis.ResponseError:
        # A user of Redis may lack the right to ask.
        return None
    if not all("used_memory" in info for info in infos):
        return None
    limits = [int(info.get("maxmemory", 0)) for info in infos]
    limit, policy = sum(limits) if all(limits) else 0, str(infos[0].get("maxmemory_policy", ""))
    used, evicted = (sum(int(info.get(name, 0)) for info in infos) for name in ("used_memory", "evicted_keys"))
    return Memory(used, limit, policy, evicted, _sentence(limit, policy))


def _sentence(limit: int, policy: str) -> str:
    if not limit:
        return NO_LIMIT
    return next((text for name, text in POLICIES.items() if policy.startswith(name)), "")
