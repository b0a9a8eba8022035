"""What a writer has fenced before its commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import keys
from .near_leases import LeaseWait
from .time_limit import Budget


@dataclass(slots=True)
class Fence:
    """The fence of one writer.

    `token` identifies the writer, `epoch` the server.  `tables` are the fenced tables, by prefix; they are recorded
    before the fence is sent, because its reply may be lost.  `confirmed` are the prefixes whose reply has arrived:
    their tables are fenced, and all that the write set meets is invalidated.  `dropped` are the names of what was
    invalidated, if the write set has causes.  `lease_wait` says how long to wait for near caches before the commit,
    `budget` how long the calls to Redis may still take.  `is_noted` means that the spool has what is committed
    without the fence.
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
