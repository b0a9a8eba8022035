"""Collect the decisions and invalidations of a piece of work, such as a request, and tell how they belong together."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import RLock

from . import decisions, invalidations
from .decisions import Decision
from .invalidations import Invalidation
from .reasons import Outcome, Reason

# How many reads and dependencies are remembered, over all pieces of work.
MAX_READS = 2000
MAX_DEPENDENCIES = 10_000


@dataclass(slots=True)
class Activity:
    """What a piece of work read and wrote, in order; writes are added once they are delivered."""

    decisions: list[Decision] = field(default_factory=list)
    invalidations: list[Invalidation] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """Return how many reads had this outcome."""
        return sum(each.outcome is outcome for each in self.decisions)


_current: ContextVar[Activity | None] = ContextVar("cacheops_activity", default=None)
_lock = RLock()
_collecting = 0


@dataclass(slots=True)
class _StoredResult:
    """The last read that knew all dependencies of a stored result, and when the result was last read or stored."""

    decision: Decision
    time: float


# By key; by dependency, the last write that invalidated it; by the id of a miss, the miss and its cause.
_reads: OrderedDict[str, _StoredResult] = OrderedDict()
_writes: OrderedDict[str, Invalidation] = OrderedDict()
_causes: OrderedDict[int, tuple[Decision, Invalidation]] = OrderedDict()


@contextmanager
def collect() -> Iterator[Activity]:
    """Collect what happens within this context: in its thread or task, and in threads that `sync_to_async` starts.

    Nothing is recorded while no such context is open.
    """
    activity = Activity()
    token = _current.set(activity)
    _begin()
    try:
        yield activity
    finally:
        _end()
        _current.reset(token)


def cause_of(decision: Decision) -> Invalidation | None:
    """Return the write that invalidated the value that a read missed, as far as it is remembered.

    The write came before the read, and after the value was last known to be stored.
    """
    with _lock:
        found = _causes.get(id(decision))
    return found[1] if found is not None and found[0] is decision else None


def reads_met_by(invalidation: Invalidation) -> list[Decision]:
    """Return the remembered reads whose results depend on something that a write invalidated, oldest first."""
    dropped = set(invalidation.dependencies)
    with _lock:
        return [each.decision for each in _reads.values() if not dropped.isdisjoint(_names(each.decision))]


def forget() -> None:
    """Forget all remembered reads and writes."""
    with _lock:
        _reads.clear()
        _writes.clear()
        _causes.clear()


def _names(decision: Decision) -> set[str]:
    """Return the names that a write may drop: the dependencies, and the tables for the writes that drop them whole."""
    return {*decision.dependencies, *(name.partition(":")[0] for name in decision.dependencies)}


def _begin() -> None:
    global _collecting
    with _lock:
        _collecting += 1
        if _collecting == 1:
            decisions.observe(_on_decision)
            invalidations.observe(_on_invalidation)


def _end() -> None:
    global _collecting
    with _lock:
        _collecting -= 1
        if _collecting == 0:
            decisions.unobserve(_on_decision)
            invalidations.unobserve(_on_invalidation)


def _on_decision(decision: Decision) -> None:
    activity = _current.get()
    if activity is not None:
        activity.decisions.append(decision)
    if not decision.key:
        return
    with _lock:
        stored = _reads.get(decision.key)
        if decision.outcome is Outcome.MISS:
            _remember_cause(decision, stored)
        # Without a size, nothing was found or stored.
        if decision.size:
            # A hit does not know which joined rows the result has.
            is_incomplete = decision.joined_tables and decision.outcome is Outcome.HIT
            known = stored.decision if stored is not None and is_incomplete else decision
            _reads[decision.key] = _StoredResult(known, time.time())
            _reads.move_to_end(decision.key)
            while len(_reads) > MAX_READS:
                _reads.popitem(last=False)


def _remember_cause(miss: Decision, stored: _StoredResult | None) -> None:
    """Remember which write invalidated the result that a read missed.

    If the result was not seen before, it may never have been stored, unless Redis still has its outdated value.
    """
    if stored is None and miss.reason is not Reason.INVALIDATED:
        return
    known, since = (miss, 0.0) if stored is None else (stored.decision, stored.time)
    found = [_writes[name] for name in _names(known) if name in _writes and _writes[name].time >= since]
    if found:
        _causes[id(miss)] = miss, max(found, key=lambda each: each.time)
        while len(_causes) > MAX_READS:
            _causes.popitem(last=False)


def _on_invalidation(invalidation: Invalidation) -> None:
    activity = _current.get()
    if activity is not None:
        activity.invalidations.append(invalidation)
    with _lock:
        for name in invalidation.dependencies:
            _writes[name] = invalidation
            _writes.move_to_end(name)
        while len(_writes) > MAX_DEPENDENCIES:
            _writes.popitem(last=False)
