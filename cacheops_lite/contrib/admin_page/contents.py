"""Collect what the page shows.  The work is bounded, however much Redis has."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.safestring import SafeString

from ...conf import model_profile
from ...inspection import (
    Moment,
    ReadStatistics,
    Statistics,
    StoredValue,
    hottest_dependencies,
    largest_values,
    over_time,
    statistics,
)
from ...observe import Reason
from ...store import STORE_ERRORS, describe_dependency, describe_shape, outages
from .charts import Point, bar_chart, line_chart
from .memory import memory

# By the minutes of a period: its name, and the minutes that one point of a chart stands for.
PERIODS = {60: "1 hour", 360: "6 hours", 1440: "24 hours"}
MINUTES_OF_A_POINT = {60: 1, 360: 5, 1440: 15}
# How many are compared, to show the largest and hottest of them.
MAX_VALUES = 500
MAX_DEPENDENCIES = 500
# Keys that are scanned, those of other programs included; one call of SCAN looks at 500.
MAX_SCANNED = 20_000
MAX_ROWS = 200
TOP = 10


@dataclass(slots=True)
class Operation:
    """The reads of one operation, with the reasons of misses and bypasses, the most frequent first.

    `lacking` are the labels of joined models without a profile.
    """

    read: ReadStatistics
    reasons: list[tuple[str, int]]
    lacking: list[str]


@dataclass(slots=True)
class Row:
    """A model or a decorated function: its reads by operation, its writes, and what they invalidated.

    `has_profile` says whether it is a model that can be invalidated.
    """

    label: str
    reads: list[ReadStatistics] = field(default_factory=list)
    writes: int = 0
    invalidations: int = 0
    has_profile: bool = False

    @property
    def operations(self) -> list[Operation]:
        """Return the operations; one without reads if there were only writes."""
        return [
            Operation(read, read.reasons.most_common(), [label for label, _ in read.details.most_common()])
            for read in self.reads or [ReadStatistics(self.label, "")]
        ]

    @property
    def number(self) -> int:
        """Return the number of reads and writes."""
        return self.writes + sum(each.hits + each.misses + each.bypasses for each in self.reads)


@dataclass(slots=True)
class HotDependency:
    """Dependencies of one shape: how many there are, and how many results the hottest of them has."""

    text: str
    number: int = 0
    most_results: int = 0


def period(minutes: str | None) -> int:
    """Return the number of minutes that was chosen, by default an hour."""
    return next((each for each in PERIODS if str(each) == minutes), 60)


def models_with_profile() -> list[type[Model]]:
    """Return the models whose results may be cached, by label."""
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        # The page's own model has no rows.
        if model_profile(model) is not None and model._meta.app_label != "cacheops_admin"
    ]
    return sorted(models, key=lambda model: model._meta.label)


def collect(minutes: int, with_values: bool) -> dict[str, Any]:
    """Return what the page shows of the last `minutes`.  `with_values` also shows values and SQL.

    If Redis is away, it has the name of the error only.
    """
    try:
        found = statistics(minutes)
        rows = _rows(found)
        return {
            "charts": _charts(over_time(minutes), minutes),
            "rows": rows[:MAX_ROWS],
            "number_of_rows": len(rows),
            "reasons": _reasons(found),
            "memory": memory(),
            "values": _largest_values(with_values),
            "max_values": MAX_VALUES,
            "dependencies": _hottest_dependencies(with_values),
            "max_dependencies": MAX_DEPENDENCIES,
        }
    except STORE_ERRORS as error:
        outages.report_failure(logging.WARNING, "The admin page of the cache can't read from Redis", error)
        return {"error": type(error).__name__}


def _rows(found: Statistics) -> list[Row]:
    """Return the models and functions, those with the most reads and writes first."""
    rows: dict[str, Row] = {}
    for read in found.reads:
        rows.setdefault(read.label, Row(read.label)).reads.append(read)
    for write in found.writes:
        row = rows.setdefault(write.label, Row(write.label))
        row.writes, row.invalidations = write.writes, write.invalidations
    labels = {model._meta.label for model in models_with_profile()}
    for row in rows.values():
        row.has_profile = row.label in labels
    return sorted(rows.values(), key=lambda row: -row.number)


def _reasons(found: Statistics) -> list[Reason]:
    """Return the reasons that occurred, to be explained."""
    names = {name for read in found.reads for name in read.reasons}
    return [reason for reason in Reason if reason.value in names]


def _charts(moments: Sequence[Moment], minutes: int) -> list[tuple[str, SafeString, str]]:
    """Return the charts, each with its title and the sentence below it."""
    points = list(_added_up(moments, MINUTES_OF_A_POINT[minutes]))
    rates = [Point(each.time, _hit_rate(each), _reads_in_words(each)) for each in points]
    drops = [Point(each.time, each.invalidations, f"invalidations {each.invalidations:,}") for each in points]
    total = _sum(moments)
    return [
        ("Hit rate", line_chart("Hit rate over time", rates, 1.0, "100%"), f"In all: {_reads_in_words(total)}."),
        (
            "Invalidations",
            bar_chart("Invalidations over time", drops),
            f"In all, writes invalidated {total.invalidations:,} dependencies of cached results.",
        ),
    ]


def _added_up(moments: Sequence[Moment], size: int) -> Iterable[Moment]:
    return (_sum(moments[start : start + size]) for start in range(0, len(moments), size))


def _sum(moments: Sequence[Moment]) -> Moment:
    return Moment(
        moments[0].time,
        *(sum(getattr(each, name) for each in moments) for name in ("hits", "misses", "bypasses", "invalidations")),
    )


def _hit_rate(moment: Moment) -> float | None:
    reads = moment.hits + moment.misses
    return moment.hits / reads if reads else None


def _reads_in_words(moment: Moment) -> str:
    rate = _hit_rate(moment)
    return (
        f"hit rate {'unknown' if rate is None else f'{rate:.0%}'}, hits {moment.hits:,}, misses {moment.misses:,}, "
        f"bypasses {moment.bypasses:,}"
    )


def _largest_values(with_values: bool) -> list[StoredValue]:
    """Return the largest of some stored values."""
    values = largest_values(TOP, MAX_VALUES, MAX_SCANNED)
    if not with_values:
        for value in values:
            value.text = ""
    return values


def _hottest_dependencies(with_values: bool) -> list[HotDependency]:
    """Return the hottest of some dependencies; those that differ only in hidden values are one."""
    describe = describe_dependency if with_values else describe_shape
    results: dict[str, HotDependency] = {}
    for text, number in hottest_dependencies(MAX_DEPENDENCIES, describe, MAX_DEPENDENCIES, MAX_SCANNED):
        found = results.setdefault(text, HotDependency(text))
        found.number += 1
        found.most_results = max(found.most_results, number)
    return list(islice(results.values(), TOP))
