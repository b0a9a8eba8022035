"""What the soak records: one record for each interval, and columns of its summary over several of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .soak_server import Observation
from .workload.worker import Figures

MIB = 2**20
PERCENTILES = {"p50": 0.50, "p99": 0.99}
# The phases of a run.
STEADY, AD_HOC = "steady", "ad-hoc shapes"


class Record:
    """One interval, or several in a row."""

    def __init__(self, phase: str, end: float, seconds: float, parts: Sequence[Figures], redis: Observation):
        self.phase, self.end, self.seconds, self.redis = phase, end, seconds, redis
        # Of each process, in bytes.
        self.rss = [each.rss for each in parts]
        self.figures = Figures()
        for each in parts:
            self.figures.merge(each)

    @property
    def operations(self) -> int:
        counts = self.figures.counts
        conflicts = sum(number for name, number in counts.items() if name.startswith("conflicts"))
        return self.figures.reads + len(self.figures.writes) + conflicts

    @property
    def hit_rate(self) -> float:
        hits = len(self.figures.hits) + self.figures.counts["verified"]
        return hits / self.figures.reads if self.figures.reads else 0.0

    def latencies(self) -> dict[str, dict[str, float | None]]:
        """Return the percentiles of hits, misses and writes in microseconds, None where there were none."""
        return {
            name: {each: histogram.percentile(share) for each, share in PERCENTILES.items()}
            for name, histogram in zip(("hits", "misses", "writes"), self.figures.histograms, strict=True)
        }

    def as_json(self) -> dict[str, Any]:
        redis = {**vars(self.redis), "results": self.redis.results, "bytes_per_result": self.redis.bytes_per_result}
        return {
            "phase": self.phase,
            "end": round(self.end, 2),
            "seconds": round(self.seconds, 2),
            "operations_per_second": round(self.operations / self.seconds),
            "reads": self.figures.reads,
            "writes": len(self.figures.writes),
            "hit_rate": round(self.hit_rate, 4),
            "latencies": self.latencies(),
            "counts": dict(self.figures.counts),
            "messages": dict(self.figures.messages),
            "rss": self.rss,
            "redis": redis,
        }

    def line(self) -> str:
        """Return the line that is printed at the end of the interval."""
        times = " ".join(
            f"{name} {_number(found['p50'])}/{_number(found['p99'])}" for name, found in self.latencies().items()
        )
        slowest = max(self.redis.scripts.items(), key=lambda each: each[1], default=("none", 0.0))
        rss = "+".join("?" if each is None else f"{each / MIB:.0f}" for each in self.rss)
        return (
            f"{self.end:6.0f} s  {self.operations / self.seconds:,.0f}/s  hit rate {100 * self.hit_rate:.1f} %  "
            f"us p50/p99: {times}  Redis {self.redis.used / MIB:.1f} MiB, {self.redis.keys:,} keys, "
            f"{_number(self.redis.bytes_per_result)} B a result, {self.redis.evicted:,} evicted  "
            f"RSS {rss} MiB  {slowest[0]} {slowest[1]:.1f} ms  {self.redis.shapes} shapes  "
            f"stale {self.figures.counts['stale']} of {self.figures.counts['verified']}"
        )


class Span:
    """Several records in a row: a column of the summary."""

    def __init__(self, title: str, records: list[Record]):
        self.title, self.records = title, records
        self.figures = Figures()
        for each in records:
            self.figures.merge(each.figures)

    def mean(self, values: Sequence[float | None]) -> float | None:
        known = [each for each in values if each is not None]
        return sum(known) / len(known) if known else None

    def bytes_per_result(self) -> float | None:
        """Return the memory of all intervals by their results, so that those with few results count less."""
        results = sum(each.redis.results for each in self.records)
        return sum(each.redis.used for each in self.records) / results if results else None

    def rss_of(self, process: int) -> float | None:
        return self.mean([each.rss[process] for each in self.records])

    def scripts(self) -> dict[str, float]:
        """Return the largest time of each script, in milliseconds."""
        found: Counter[str] = Counter()
        for record in self.records:
            for name, milliseconds in record.redis.scripts.items():
                found[name] = max(found[name], milliseconds)
        return dict(sorted(found.items()))

    def as_row(self) -> dict[str, Any]:
        """Return the figures of the summary; bytes are means over the intervals."""
        merged = Record(self.title, 0.0, sum(each.seconds for each in self.records), [self.figures], self._last.redis)
        return {
            "title": self.title,
            "minutes": round(merged.seconds / 60, 1),
            "operations_per_second": round(merged.operations / merged.seconds),
            "hit_rate": round(merged.hit_rate, 4),
            "latencies": merged.latencies(),
            "used": self.mean([each.redis.used for each in self.records]),
            "keys": self.mean([each.redis.keys for each in self.records]),
            "results": self.mean([each.redis.results for each in self.records]),
            "bytes_per_result": self.bytes_per_result(),
            "evicted": sum(each.redis.evicted for each in self.records),
            "expired": sum(each.redis.expired for each in self.records),
            "rss": self.mean([self.rss_of(i) for i in range(len(self._last.rss))]),
            "redis_rss": self.mean([each.redis.rss for each in self.records]),
            "scripts": self.scripts(),
            "other": max(each.redis.other for each in self.records),
            "waited": self.mean([each.redis.waited for each in self.records]),
            "shapes": max(each.redis.shapes for each in self.records),
            "verified": self.figures.counts["verified"],
            "stale": self.figures.counts["stale"],
        }

    @property
    def _last(self) -> Record:
        return self.records[-1]


def spans(records: list[Record]) -> list[Span]:
    """Return the thirds of the steady load, and the load with ad-hoc shapes; those without records are left out."""
    steady = [each for each in records if each.phase == STEADY]
    third = len(steady) // 3
    parts = {
        "first third": steady[:third],
        "middle third": steady[third : 2 * third],
        "last third": steady[2 * third :],
        AD_HOC: [each for each in records if each.phase == AD_HOC],
    }
    return [Span(title, found) for title, found in parts.items() if found]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
