"""Add up the counters of all processes, which are kept in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.apps import apps

from ..conf import on_change
from ..observe import Counted, Outcome, Reason
from ..schema import name_in_keys
from ..store import counter_flush

MAX_MINUTES = counter_flush.KEEP_SECONDS // 60
_OUTCOMES = {reason.value: reason.outcome for reason in Reason}


@dataclass(slots=True)
class ReadStatistics:
    """What became of the reads of one operation of a model, or of a decorated function.

    `reasons` counts misses and bypasses by the value of their `Reason`.  `details` counts the reads that bypassed the
    cache because of a joined model without a profile, by its label.  `saved_seconds` is what hits saved against
    computing, `compute_seconds` what misses took.  `verified` hits were compared with the database, and `differing` of
    them differed.
    """

    label: str
    operation: str
    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    saved_seconds: float = 0.0
    compute_seconds: float = 0.0
    verified: int = 0
    differing: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits among hits and misses, from 0 to 1; None if there were none."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else None


@dataclass(slots=True)
class WriteStatistics:
    """How often rows of a model were written, and how many dependency versions of cached results that dropped."""

    label: str
    writes: int = 0
    invalidations: int = 0


@dataclass(slots=True)
class Statistics:
    """Counters of the last `minutes`, largest numbers first."""

    minutes: int
    reads: list[ReadStatistics]
    writes: list[WriteStatistics]

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as values that JSON knows."""
        return {
            "minutes": self.minutes,
            "reads": [
                {name: getattr(each, name) for name in (*ReadStatistics.__slots__, "hit_rate")} for each in self.reads
            ],
            "writes": [{name: getattr(each, name) for name in WriteStatistics.__slots__} for each in self.writes],
        }


@dataclass(slots=True)
class Moment:
    """All reads and invalidations of a minute that began at `time`, in seconds since 1970."""

    time: int
    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    invalidations: int = 0


def statistics(minutes: int = 60) -> Statistics:
    """Return the counters of the last `minutes`, at most those of a day.  Raises errors of Redis.

    This process's counters are flushed first; other processes flush theirs every ten seconds.
    """
    total: Counter[Counted] = Counter()
    for _, counts in _read(minutes):
        total.update(counts)
    return _added_up(minutes, total)


def over_time(minutes: int = 60) -> list[Moment]:
    """Return the counters of each of the last `minutes`, oldest first.  Raises errors of Redis."""
    return [_moment(time, counts) for time, counts in _read(minutes)]


def _read(minutes: int) -> Iterable[tuple[int, Counter[Counted]]]:
    counter_flush.flush()
    return counter_flush.read_counts(max(1, min(minutes, MAX_MINUTES)))


def _added_up(minutes: int, counts: Counter[Counted]) -> Statistics:
    reads: dict[tuple[str, str], ReadStatistics] = {}
    writes: dict[str, WriteStatistics] = {}
    labels = labels_by_table()
    for counted, number in counts.items():
        if counted.operation == "write":
            label = labels.get(counted.subject, counted.subject)
            found = writes.setdefault(label, WriteStatistics(label))
            setattr(found, counted.reason, getattr(found, counted.reason) + number)
        else:
            key = counted.subject, counted.operation
            _add(reads.setdefault(key, ReadStatistics(*key)), counted, number)
    return Statistics(
        minutes,
        sorted(reads.values(), key=lambda each: -(each.hits + each.misses + each.bypasses)),
        sorted(writes.values(), key=lambda each: -each.writes),
    )


def _add(reads: ReadStatistics, counted: Counted, number: int) -> None:
    outcome = _OUTCOMES.get(counted.reason)
    if outcome is Outcome.HIT:
        reads.hits += number
    elif outcome is not None:
        if outcome is Outcome.MISS:
            reads.misses += number
        else:
            reads.bypasses += number
        reads.reasons[counted.reason] += number
        if counted.detail:
            reads.details[counted.detail] += number
    elif counted.reason == "saved":
        reads.saved_seconds += number / 1e6
    elif counted.reason == "computed":
        reads.compute_seconds += number / 1e6
    elif counted.reason == "verified":
        reads.verified += number
    elif counted.reason == "differing":
        reads.differing += number


def _moment(time: int, counts: Counter[Counted]) -> Moment:
    moment = Moment(time)
    for counted, number in counts.items():
        outcome = _OUTCOMES.get(counted.reason)
        if outcome is Outcome.HIT:
            moment.hits += number
        elif outcome is Outcome.MISS:
            moment.misses += number
        elif outcome is Outcome.BYPASS:
            moment.bypasses += number
        elif counted.reason == "invalidations":
            moment.invalidations += number
    return moment


@lru_cache(maxsize=1)
def labels_by_table() -> dict[str, str]:
    """Return the labels of all models by their tables, as these are named in keys."""
    models = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]
    return {name_in_keys(model._meta.db_table): model._meta.label for model in models}


@on_change
def _forget_labels(setting: str) -> None:
    # Also called with "CACHEOPS" when the set of models changes.
    if setting == "CACHEOPS":
        labels_by_table.cache_clear()
