"""What a writer has fenced before its commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import keys
from .near_leases import LeaseWait
from .time_limit import Budget


@dataclass(slots=True)
class Fence:
    """A writer's token, the epoch of the server that it is of, the tables that it fences, by prefix, and the time that
    is left for its calls to Redis.

    Tables are recorded before the fence is sent, because its reply may be lost.  `confirmed` are the prefixes whose
    reply came: their tables are fenced, and all that the write set meets is invalidated.  `lease_wait` is
    how long to wait for near caches before the commit.  `dropped` are the names of what was invalidated, if the write
    set has causes.  `is_noted` tells that the spool has what is committed without the fence.
    """

    token: str = field(default_factory=keys.fresh_token)
    epoch: bytes | None = None
    tables: dict[str, list[str]] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    lease_wait: LeaseWait = field(default_factory=LeaseWait)
    budget: Budget = field(default_factory=Budget)
    is_noted: bool = False

    def keys_under(self, prefix: str) -> list[str]:
        """Return the keys of the fences under a prefix."""
        return [keys.fence_key(prefix, table) for table in self.tables[prefix]]
