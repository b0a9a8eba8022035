"""A histogram of latencies, small however many there are, from which percentiles are accurate to one per cent."""

from __future__ import annotations

import math
from collections import Counter

GROWTH = math.log(1.02)


class Histogram:
    """Counts of latencies in buckets, each 2 % wider than the one before it."""

    def __init__(self, buckets: dict[int, int] | None = None):
        self.buckets = Counter(buckets or {})

    def add(self, microseconds: float) -> None:
        self.buckets[int(math.log(max(microseconds, 1.0)) / GROWTH)] += 1

    def merge(self, other: Histogram) -> None:
        self.buckets.update(other.buckets)

    def __len__(self) -> int:
        return sum(self.buckets.values())

    def percentile(self, share: float) -> float | None:
        """Return the microseconds that this share of all latencies does not exceed, None if there are none."""
        remaining = share * len(self)
        for bucket in sorted(self.buckets):
            remaining -= self.buckets[bucket]
            if remaining <= 0:
                return round(math.exp((bucket + 0.5) * GROWTH), 1)
        return None
