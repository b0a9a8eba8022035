"""The worker process of the soak: it reads and writes for as long as its parent asks for, and reports what it met."""

from __future__ import annotations

import logging
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..peers import OURS
from ..worker import CountedQueries, configure
from .histogram import Histogram
from .population import Population

# How many different messages of a process are reported.
MAX_MESSAGES = 5


@dataclass(frozen=True)
class Plan:
    """What a worker does; `verify`, `writes` and `ad_hoc` are shares from 0 to 1, `timeout` is in seconds."""

    database: dict[str, Any]
    redis_url: str
    population: Population
    exponent: float
    writes: float
    ad_hoc: float
    verify: float
    timeout: int
    seed: int
    # The name of a deliberate defect of tests.concurrency.breakages.
    breakage: str | None = None


@dataclass
class Figures:
    """What a worker did in one interval.  Hits that were compared with the database have no latencies."""

    hits: Histogram = field(default_factory=Histogram)
    misses: Histogram = field(default_factory=Histogram)
    writes: Histogram = field(default_factory=Histogram)
    # Numbers of: verified hits, stale hits, bypasses, and writes that another process made fail, by their errors.
    counts: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    # In bytes, None where the system does not tell.
    rss: int | None = None

    def merge(self, other: Figures) -> None:
        for mine, theirs in zip(self.histograms, other.histograms, strict=True):
            mine.merge(theirs)
        self.counts.update(other.counts)
        self.messages.update(other.messages)

    @property
    def histograms(self) -> tuple[Histogram, Histogram, Histogram]:
        return self.hits, self.misses, self.writes

    @property
    def reads(self) -> int:
        return len(self.hits) + len(self.misses) + self.counts["verified"] + self.counts["bypasses"]


class Worker:
    """The public methods are the requests of the parent."""

    def __init__(self, plan: Plan):
        profiles = {"library.note": None, "library.*": {"ops": "all", "timeout": plan.timeout}}
        further = {"CACHEOPS_REDIS": plan.redis_url, "CACHEOPS": profiles, "CACHEOPS_VERIFY": plan.verify}
        configure(OURS, plan.database, **further)
        if plan.breakage is not None:
            from tests.concurrency import breakages

            breakages.install(plan.breakage)
        self._plan, self._rng, self._figures = plan, random.Random(plan.seed), Figures()
        self._prepare()

    def _prepare(self) -> None:
        from cacheops_lite.signals import cache_read

        from .reads import Reads
        from .writes import Writes
        from .zipf import Zipf

        zipf = Zipf(self._plan.population.books, self._plan.exponent, self._rng)
        self._reads = Reads(self._plan.population, zipf, self._rng)
        self._writes = Writes(self._plan.population, zipf, self._rng)
        # Whether the lookups of the present read were hits.
        self._lookups: list[bool] = []
        cache_read.connect(self._note_lookup, weak=False)
        self._queries = CountedQueries().__enter__()
        logging.getLogger("cacheops_lite").addHandler(_Messages(self))

    def _note_lookup(self, hit: bool, **kwargs: Any) -> None:
        self._lookups.append(hit)

    def run(self, seconds: float, with_ad_hoc: bool) -> Figures:
        """Read and write for so many seconds."""
        self._figures = figures = Figures()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._rng.random() < self._plan.writes:
                self._write()
            elif with_ad_hoc and self._rng.random() < self._plan.ad_hoc:
                self._read(self._reads.ad_hoc)
            else:
                self._read(self._reads.any)
        figures.rss = resident_bytes()
        return figures

    def verify(self, sample: int) -> Counter[str]:
        """Compare so many of all cached results with the database, while no process writes; return the verdicts."""
        from cacheops_lite.inspection import value_keys, verify

        found = sorted(value_keys())
        return Counter(verify(key).value for key in self._rng.sample(found, min(sample, len(found))))

    def _read(self, read: Callable[[], Any]) -> None:
        from django.core.exceptions import ObjectDoesNotExist

        self._lookups.clear()
        queries = self._queries.count
        started = time.perf_counter()
        # Another process may be replacing the row.
        with suppress(ObjectDoesNotExist):
            read()
        microseconds = (time.perf_counter() - started) * 1e6
        if not self._lookups:
            self._figures.counts["bypasses"] += 1
        elif not all(self._lookups):
            self._figures.misses.add(microseconds)
        elif self._queries.count > queries:
            self._figures.counts["verified"] += 1
        else:
            self._figures.hits.add(microseconds)

    def _write(self) -> None:
        from django.core.exceptions import ObjectDoesNotExist
        from django.db import IntegrityError, OperationalError

        try:
            write = self._writes.prepare_any()
            started = time.perf_counter()
            write()
        except (ObjectDoesNotExist, IntegrityError, OperationalError) as error:
            # Two processes write the same rows: one is too late, or the database ends a deadlock.
            self._figures.counts[f"conflicts: {type(error).__name__}"] += 1
        else:
            self._figures.writes.add((time.perf_counter() - started) * 1e6)

    def note_message(self, record: logging.LogRecord) -> None:
        """Note what the package logs: a stale hit, or anything else worth a warning."""
        if record.module == "hit_verification" and record.levelno >= logging.ERROR:
            self._figures.counts["stale"] += 1
        elif record.levelno >= logging.ERROR:
            self._figures.counts["errors"] += 1
        message = f"{record.levelname}: {record.getMessage()}"
        if message in self._figures.messages or len(self._figures.messages) < MAX_MESSAGES:
            self._figures.messages[message] += 1


class _Messages(logging.Handler):
    def __init__(self, worker: Worker):
        super().__init__(logging.WARNING)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.note_message(record)


def resident_bytes() -> int | None:
    """Return the memory of this process that is not swapped out, None where /proc does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * resource.getpagesize()
