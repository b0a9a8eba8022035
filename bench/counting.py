"""Measure what counting reads costs: hits with ``CACHEOPS_STATS`` on against off."""

from __future__ import annotations

from .alternating import Alternating
from .reads import Count, Fetch20, Get


class _Counting(Alternating):
    bound_in_units = 1.02

    def switch(self, is_on: bool) -> None:
        from cacheops_lite.observe import counters

        counters.install() if is_on else counters.uninstall()


class CountedGet(_Counting, Get):
    name, title = "counting-get", "counting, get by pk, hit"


class CountedFetch(_Counting, Fetch20):
    name, title = "counting-fetch", "counting, fetch 20, hit"


class CountedCount(_Counting, Count):
    name, title = "counting-count", "counting, count, hit"


COUNTING = (CountedGet, CountedFetch, CountedCount)
