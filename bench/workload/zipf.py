"""Numbers that follow Zipf's law: the k-th most popular of n is drawn with a chance that is proportional to k**-s."""

from __future__ import annotations

import random
from array import array
from bisect import bisect
from itertools import accumulate

# A prime that is larger than any number of objects: neighbours in popularity are no neighbours in the table.
SCATTER = 2_654_435_761


class Zipf:
    """Draws primary keys from 1 to `n`.  It takes 8 bytes for each of them."""

    def __init__(self, n: int, exponent: float, rng: random.Random):
        self._n, self._rng = n, rng
        self._cumulative = array("d", accumulate(rank**-exponent for rank in range(1, n + 1)))

    def rank(self) -> int:
        """Return a rank; 0 is the most popular one."""
        return bisect(self._cumulative, self._rng.random() * self._cumulative[-1], hi=self._n - 1)

    def pk(self) -> int:
        """Return the primary key that has a drawn rank; each rank has one of its own, the same in all processes."""
        return 1 + self.rank() * SCATTER % self._n
