"""Differential testing: take random steps, and compare each read with the same read without the cache."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.conftest import counted_reads
from tests.support.uncached import uncached


@dataclass
class Figures:
    """Count what a run did.

    `unchanged` counts reads after a write that did not change their result; `kept` those of them that were hits.
    """

    seed: int | None = None
    writes: int = 0
    reads: int = 0
    hits: int = 0
    unchanged: int = 0
    kept: int = 0
    stale: int = 0

    def __str__(self):
        share = f"{100 * self.kept / self.unchanged:.0f} %" if self.unchanged else "-"
        seed = "" if self.seed is None else f"seed {self.seed}: "
        return (
            f"{seed}{self.writes} writes, {self.reads} reads, {self.hits} hits, "
            f"{share} kept of {self.unchanged} unchanged, stale = {self.stale}"
        )


@dataclass
class Known:
    """A read that was cached: its true result, and whether a write followed."""

    value: object
    written_since: bool = False


def run(seed: int, steps: int, reads: Callable, write: Callable, share_of_writes: float = 0.15) -> Figures:
    """Take random steps.  A stale read raises AssertionError with its line."""
    rng = random.Random(seed)
    figures = Figures(seed)
    pool = reads(rng)
    known: dict[int, Known] = {}
    for step in range(steps):
        if rng.random() < share_of_writes:
            write(rng)
            figures.writes += 1
            for each in known.values():
                each.written_since = True
            if rng.random() < 0.1:
                pool, known = reads(rng), {}
            continue
        index = rng.randrange(len(pool))
        with counted_reads() as counted:
            found = pool[index]()
        hit = bool(counted.hits and not counted.misses)
        true = uncached(pool[index])
        figures.reads += 1
        figures.hits += hit
        before = known.get(index)
        if before is not None and before.written_since and before.value == true:
            figures.unchanged += 1
            figures.kept += hit
        known[index] = Known(true)
        if found != true:
            figures.stale += 1
            line = pool[index].__code__.co_firstlineno
            raise AssertionError(f"stale at step {step}, read of line {line}: {found} is not {true}; {figures}")
    return figures
