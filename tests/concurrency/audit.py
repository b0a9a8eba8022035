"""Compare the cache with the database when all is quiet."""

from __future__ import annotations

from tests.concurrency import reads
from tests.concurrency.oracle import Bounds
from tests.support.uncached import uncached


def audit(oracle, wide):
    """Return what is wrong after the last write: cached reads must equal the database, with all acknowledged writes."""
    bounds = Bounds(oracle.acknowledged(), oracle.begun())
    problems = []
    for read in [each for shape in reads.SHAPES + [reads.wide] * wide for each in shape()]:
        found, true = read.read(), uncached(read.read)
        if found != true:
            problems.append(f"{read.name} is {found}, in the database {true}")
        if problem := read.check(true, bounds):
            problems.append(f"{read.name} lost what was acknowledged: {problem}")
    return problems
