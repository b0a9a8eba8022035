"""Compute medians and ratios from the figures of all rounds."""

from __future__ import annotations

import statistics
from typing import Any

from .operations import Operation
from .peers import BARE, CACHEOPS, CACHEOPS_INSIDEOUT, CACHEX, CLUSTER, GET, OURS, OURS_INSIDEOUT, OURS_NEAR
from .rounds import Figures

# The pairs whose ratios are printed.
PAIRS = (
    (OURS_NEAR, CACHEOPS),
    (OURS, CACHEOPS),
    (OURS_INSIDEOUT, CACHEOPS),
    (OURS_INSIDEOUT, CACHEOPS_INSIDEOUT),
    (OURS, BARE),
    (OURS_INSIDEOUT, BARE),
    (OURS, GET),
    (OURS_INSIDEOUT, GET),
    (OURS, CACHEX),
    (OURS_NEAR, CACHEX),
    (CLUSTER, OURS_INSIDEOUT),
)
# With this database the query without a cache is bound, too: it goes over loopback, the fastest link in production.
BARE_IS_A_BOUND = "postgresql"
# Of ours to django-cachex, which invalidates whole tables, and so writes at the least cost: of hits, and of the others.
CACHEX_HIT_BOUND = 0.3
CACHEX_BOUNDS = {
    **{"miss-get": 0.7, "miss-fetch": 0.7, "save": 1.0},
    **{"saves": 5.0, "invalidated-update": 2.0},
}
# Of a hit on a cluster, to one on a single node.
CLUSTER_BOUND = 1.6


def compared(operation: type[Operation], figures: Figures, database: str) -> dict[str, Any]:
    """Return one row of the tables."""
    costs = costs_of(operation, figures.rounds.get(operation.name, {}))
    ratios = {f"{a.name}:{b.name}": ratio(costs.get(a.name), costs.get(b.name), operation.adds) for a, b in PAIRS}
    return {
        "name": operation.name,
        "title": operation.title,
        "unit": operation.unit,
        "adds": operation.adds,
        "is_hit": operation.is_hit,
        "medians": {peer: statistics.median(each) for peer, each in costs.items()},
        "quartiles": {peer: quartiles(each) for peer, each in costs.items()},
        "ratios": {pair: each for pair, each in ratios.items() if each is not None},
        "bounds": bounds(operation, database),
        "bound_in_units": operation.bound_in_units,
    }


def bounds(operation: type[Operation], database: str) -> dict[str, float]:
    """Return the upper bounds of ratios, by pair."""
    found = {}
    if operation.bound is not None:
        found[f"{OURS.name}:{CACHEOPS.name}"] = operation.bound
        found[f"{OURS_INSIDEOUT.name}:{CACHEOPS.name}"] = operation.insideout_bound or operation.bound
    if operation.near_bound is not None:
        found[f"{OURS_NEAR.name}:{CACHEOPS.name}"] = operation.near_bound
    cachex = CACHEX_HIT_BOUND if operation.is_hit else CACHEX_BOUNDS.get(operation.name)
    if cachex is not None:
        found[f"{OURS.name}:{CACHEX.name}"] = cachex
    if operation.is_hit:
        found[f"{CLUSTER.name}:{OURS_INSIDEOUT.name}"] = CLUSTER_BOUND
    if operation.is_hit and database == BARE_IS_A_BOUND:
        found[f"{OURS.name}:{BARE.name}"] = found[f"{OURS_INSIDEOUT.name}:{BARE.name}"] = 1.0
    return found


def costs_of(operation: type[Operation], rounds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return the costs of all rounds by peer: the time, or the difference to the peer without a cache."""
    bare = rounds.get(BARE.name)
    if not operation.adds:
        return rounds
    if bare is None:
        return {}
    added = {peer: [a - b for a, b in zip(each, bare, strict=True)] for peer, each in rounds.items()}
    # For the peer without a cache the whole time is shown: the difference would be 0.
    return {**added, BARE.name: bare}


def ratio(ours: list[float] | None, theirs: list[float] | None, adds: bool) -> float | None:
    """Return the median of the ratios of all rounds, None if a figure is missing.

    For differences, return the ratio of the medians: in a noisy round a difference may be negative.
    """
    if ours is None or theirs is None:
        return None
    if adds:
        median = statistics.median(theirs)
        return statistics.median(ours) / median if median > 0 else None
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def quartiles(each: list[float]) -> list[float]:
    """Return the first and the third quartile."""
    if len(each) < 2:
        return [each[0], each[0]]
    first, _, third = statistics.quantiles(each, n=4, method="inclusive")
    return [first, third]
