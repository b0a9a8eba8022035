"""Measures reads."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from .counting import Counts, counting
from .reads import Read

REPEATS = 7


@dataclass(frozen=True)
class Run:
    """One run of a read."""

    result: Any
    seconds: float
    counts: Counts


@dataclass(frozen=True)
class Measurement:
    """A read from an empty cache, then from a filled one, and without a cache."""

    read: Read
    cold: Run
    warm: list[Run]
    uncached: list[Run]

    @property
    def warm_seconds(self):
        return median(run.seconds for run in self.warm)

    @property
    def uncached_seconds(self):
        return median(run.seconds for run in self.uncached)

    @property
    def warm_queries(self):
        """The most SQL queries that a warm run needed."""
        return max(run.counts.queries for run in self.warm)

    @property
    def hit(self):
        """Whether every warm run was answered by the cache alone."""
        return all(run.counts.from_cache for run in self.warm)

    @property
    def correct(self):
        """Whether all the runs agree with the database."""
        expected = self.uncached[0].result
        return all(run.result == expected for run in [self.cold, *self.warm])


def timed(function):
    """Run a function and return its Run."""
    with counting() as counts:
        started = perf_counter()
        result = function()
        seconds = perf_counter() - started
    return Run(result, seconds, counts)


def measure(read):
    """Measure a read; the first run is cold only if the cache is empty."""
    return Measurement(
        read,
        cold=timed(read.run),
        warm=[timed(read.run) for _ in range(REPEATS)],
        uncached=[timed(read.run_uncached) for _ in range(REPEATS)],
    )
