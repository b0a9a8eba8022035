"""Measure what counting reads costs: hits with ``CACHEOPS_STATS`` on against off."""

from __future__ import annotations

import statistics
from typing import ClassVar

from .operations import Operation
from .peers import OURS
from .reads import Count, Fetch20, Get


class _Counting(Operation):
    """On and off by turns, call by call in one process: the difference is far smaller than that of two blocks."""

    unit = "on : off"
    is_hit = False
    bound = None
    bound_in_units = 1.02
    only = frozenset({OURS.name})
    calls: ClassVar[int] = 300

    def block(self) -> float:
        from cacheops_lite.observe import counters

        for _ in range(self.warmups):
            self.step()
        taken: dict[bool, list[float]] = {True: [], False: []}
        try:
            for number in range(2 * self.calls):
                # On, off, off, on: what changes steadily counts for both alike.
                is_on = number % 4 in (0, 3)
                counters.install() if is_on else counters.uninstall()
                taken[is_on].append(self.step()[0])
        finally:
            counters.install()
        return statistics.median(taken[True]) / statistics.median(taken[False])


class CountedGet(_Counting, Get):
    name, title = "counting-get", "counting, get by pk, hit"
    bound, is_hit = None, False


class CountedFetch(_Counting, Fetch20):
    name, title = "counting-fetch", "counting, fetch 20, hit"
    bound, is_hit = None, False


class CountedCount(_Counting, Count):
    name, title = "counting-count", "counting, count, hit"
    bound, is_hit = None, False


COUNTING = (CountedGet, CountedFetch, CountedCount)
