"""The metrics.  All are counters and histograms, which add up over processes where PROMETHEUS_MULTIPROC_DIR is set."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from ...observe import Decision, Invalidation, Outcome
from .. import labels

# Hits take some hundred microseconds; misses as long as the database takes.
BUCKETS_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Collectors:
    """The metrics, and what feeds them."""

    def __init__(self, registry: CollectorRegistry):
        self._registry = registry
        self.reads = Counter(
            "cacheops_reads",
            "Reads of a model or of a decorated function, by what became of them and why.",
            ("model", "operation", "outcome", "reason"),
            registry=registry,
        )
        self.read_seconds = Histogram(
            "cacheops_read_seconds",
            "Duration of reads that looked the result up, in seconds.",
            ("outcome",),
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        self.saved_seconds = Counter(
            "cacheops_saved_seconds",
            "Seconds that hits saved: the time of computing the result, less the time of the read.",
            ("model", "operation"),
            registry=registry,
        )
        self.writes = Counter(
            "cacheops_writes",
            "Writes that were invalidated, and manual invalidations, by model and kind of write.",
            ("model", "operation"),
            registry=registry,
        )
        self.invalidated = Counter(
            "cacheops_invalidated_dependencies",
            "Dependencies of cached results that writes invalidated, by model.",
            ("model",),
            registry=registry,
        )

    def on_decision(self, decision: Decision) -> None:
        """Count a read."""
        label, outcome = labels.read_label(decision), decision.outcome
        self.reads.labels(label, decision.operation, outcome.value, decision.reason.value).inc()
        if outcome is not Outcome.BYPASS:
            self.read_seconds.labels(outcome.value).observe(decision.seconds)
        if outcome is Outcome.HIT and decision.compute_seconds > decision.seconds:
            # A counter never decreases, so hits that were slower than computing count nothing.
            saved = decision.compute_seconds - decision.seconds
            self.saved_seconds.labels(label, decision.operation).inc(saved)

    def on_invalidation(self, invalidation: Invalidation) -> None:
        """Count a write, and what it invalidated."""
        self.writes.labels(labels.write_label(invalidation), invalidation.operation).inc()
        for label, number in labels.dropped_by_model(invalidation).items():
            self.invalidated.labels(label).inc(number)

    def unregister(self) -> None:
        """Remove the metrics."""
        for metric in (self.reads, self.read_seconds, self.saved_seconds, self.writes, self.invalidated):
            self._registry.unregister(metric)
