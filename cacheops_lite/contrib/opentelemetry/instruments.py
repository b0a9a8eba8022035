"""The metrics: what became of reads and how long they took, what hits saved, and what writes invalidated."""

from __future__ import annotations

from opentelemetry.metrics import Meter

from ...observe import Decision, Invalidation, Outcome
from .. import labels
from .attributes import MODEL, OPERATION, OUTCOME, REASON, WRITE


class Instruments:
    """The instruments of one meter, and what feeds them."""

    def __init__(self, meter: Meter):
        self.reads = meter.create_counter(
            "cacheops.reads", "{read}", "Reads of a model or of a decorated function, by what became of them and why."
        )
        self.duration = meter.create_histogram(
            "cacheops.read.duration", "s", "Duration of reads that looked the result up."
        )
        self.saved = meter.create_counter(
            "cacheops.saved", "s", "Time that hits saved: that of computing the result, less that of the read."
        )
        self.writes = meter.create_counter(
            "cacheops.writes", "{write}", "Writes that were invalidated, and manual invalidations."
        )
        self.invalidated = meter.create_counter(
            "cacheops.invalidated_dependencies",
            "{dependency}",
            "Dependencies of cached results that writes invalidated.",
        )

    def on_decision(self, decision: Decision) -> None:
        """Count a read."""
        outcome = decision.outcome
        read = {MODEL: labels.read_label(decision), OPERATION: decision.operation}
        self.reads.add(1, {**read, OUTCOME: outcome.value, REASON: decision.reason.value})
        if outcome is not Outcome.BYPASS:
            self.duration.record(decision.seconds, {**read, OUTCOME: outcome.value})
        if outcome is Outcome.HIT and decision.compute_seconds > decision.seconds:
            # A counter never decreases, so hits that were slower than computing count nothing.
            self.saved.add(decision.compute_seconds - decision.seconds, read)

    def on_invalidation(self, invalidation: Invalidation) -> None:
        """Count a write, and what it invalidated."""
        self.writes.add(1, {MODEL: labels.write_label(invalidation), WRITE: invalidation.operation})
        for label, number in labels.dropped_by_model(invalidation).items():
            self.invalidated.add(number, {MODEL: label})
