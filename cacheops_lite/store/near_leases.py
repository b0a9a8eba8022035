"""The leases of near caches, as writers see them: how long they wait before they commit.

A near cache answers without asking Redis while its lease lasts.  The script that invalidates and fences tables returns
the longest lease that near caches have registered for them; the writer waits that long before it commits.  Then no
lease that began before the fence lasts any more.  docs/model/near.py walks it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings as django_settings

from ..conf import near_leases_of_profiles, on_change, settings

# A registration expires after this time; near caches then register again, and a writer waits once in vain.
REGISTRATION_SECONDS = 3600
# Clocks of different machines run differently fast: a writer waits this share longer ...
DRIFT = 0.01
# ... and this much, in seconds, as its sleep may be rounded.
MARGIN_SECONDS = 0.0005

# The leases of decorated functions.
_declared: float = 0.0
_longest: float | None = None


def declare(seconds: float) -> None:
    """Note that something besides profiles keeps near copies under this lease."""
    global _declared, _longest
    if seconds > _declared:
        _declared, _longest = seconds, None


def longest_lease() -> float:
    """Return the longest lease that this project's near caches may have, in seconds, 0 if it has none.

    A writer that does not find how long the lease is waits that long.
    """
    global _longest
    if _longest is None:
        is_set = hasattr(django_settings, "CACHEOPS_NEAR_LEASE")
        own = settings.CACHEOPS_NEAR_LEASE if is_set else 0.0
        _longest = max(own, _declared, *near_leases_of_profiles(), 0.0)
    return _longest


@on_change
def _forget_longest(setting: str) -> None:
    global _longest
    _longest = None


@dataclass(slots=True)
class LeaseWait:
    """How long a writer has to wait for near caches, in seconds.

    `unknown` are, by prefix, the tables without a registration, each with the epoch of its server.
    """

    seconds: float = 0.0
    unknown: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, prefix: str, epoch: bytes, reply: Sequence[bytes]) -> None:
        """Take what invalidate.lua replied: the longest lease in milliseconds, and the tables."""
        lease, *tables = reply
        self.seconds = max(self.seconds, float(lease) / 1000)
        if tables:
            self.unknown.setdefault(prefix, {}).update((table.decode(), epoch) for table in tables)

    def wait(self) -> None:
        """Wait until no near cache has a lease that began before the invalidation was sent."""
        seconds, self.seconds = self.seconds, 0.0
        if seconds:
            time.sleep(seconds * (1 + DRIFT) + MARGIN_SECONDS)

    def add_longest(self) -> None:
        """Note that it is unknown which near caches there are: no registration was read."""
        self.seconds = max(self.seconds, longest_lease())
