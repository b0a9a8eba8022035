"""Measure the times and queries of reads."""

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
    """Runs of a read: with an empty cache, then with a filled one, and without a cache."""

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
        """The highest number of SQL queries of a warm run."""
        return max(run.counts.queries for run in self.warm)

    @property
    def hit(self):
        """Whether the cache alone answered each warm run."""
        return all(run.counts.from_cache for run in self.warm)

    @property
    def correct(self):
        """Whether the results of all runs equal the database."""
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
    """Measure a read. The first run is cold only if the cache is empty."""
    return Measurement(
        read,
        cold=timed(read.run),
        warm=[timed(read.run) for _ in range(REPEATS)],
        uncached=[timed(read.run_uncached) for _ in range(REPEATS)],
    )
