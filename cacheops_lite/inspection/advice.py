"""Suggest changes of ``CACHEOPS`` from the counters of the last hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps

from ..conf import ALL_OPS, model_profile, settings
from ..observe import Reason
from .statistics import ReadStatistics, Statistics

# Fewer reads than this say nothing.
MIN_READS = 20
# A cached operation that hits less often costs more than it saves.
MIN_HIT_RATE = 0.1
# An operation is worth caching if there are at least so many reads for each write of the model.
MIN_READS_PER_WRITE = 2
DEFAULT_TIMEOUT_SECONDS = 600


@dataclass(slots=True)
class Advice:
    """Suggested changes: sentences that say why, and the ``CACHEOPS`` that results."""

    reasons: list[str] = field(default_factory=list)
    cacheops: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the advice as values that JSON knows."""
        return {"reasons": self.reasons, "CACHEOPS": self.cacheops}


def advise(statistics: Statistics) -> Advice:
    """Return advice from the statistics, and ``CACHEOPS`` as it is where they give no reason for a change."""
    advice = Advice(cacheops={name: _plain(entry) for name, entry in (settings.CACHEOPS or {}).items()})
    writes = {each.label: each.writes for each in statistics.writes}
    for reads in statistics.reads:
        if not _is_model(reads.label):
            continue
        for label, number in reads.details.items():
            _add_joined(advice, label, reads, number)
        _add_operation(advice, reads, writes.get(reads.label, 0))
        if reads.hits + reads.misses >= MIN_READS and (reads.hit_rate or 0) < MIN_HIT_RATE:
            _drop_operation(advice, reads)
    return advice


def _add_joined(advice: Advice, labels: str, reads: ReadStatistics, number: int) -> None:
    """A joined model needs a profile, if only an empty one, for its writes to be followed."""
    for label in labels.split(", "):
        if _is_model(label) and model_profile(apps.get_model(label)) is None and label.lower() not in advice.cacheops:
            advice.reasons.append(
                f"Add {label}: {number} times {reads.operation} of {reads.label} was not cached because it joins "
                f"{label}, which has no profile."
            )
            advice.cacheops[label.lower()] = {"ops": [], "timeout": _timeout()}


def _add_operation(advice: Advice, reads: ReadStatistics, writes: int) -> None:
    missing = reads.reasons[Reason.NO_PROFILE.value] + reads.reasons[Reason.OPERATION_NOT_IN_OPS.value]
    if missing < MIN_READS or missing < writes * MIN_READS_PER_WRITE or reads.operation not in ALL_OPS:
        return
    entry = _entry_of(advice, reads.label)
    if reads.operation not in entry["ops"]:
        entry["ops"] = sorted({*entry["ops"], reads.operation})
        advice.reasons.append(
            f"Add {reads.operation} of {reads.label}: {missing} reads went to the database, with {writes} writes."
        )


def _drop_operation(advice: Advice, reads: ReadStatistics) -> None:
    entry = _entry_of(advice, reads.label)
    if reads.operation in entry["ops"]:
        entry["ops"] = sorted({*entry["ops"]} - {reads.operation})
        advice.reasons.append(
            f"Drop {reads.operation} of {reads.label}: {reads.hits} hits and {reads.misses} misses. "
            "Writes invalidate its results, or they expire, before they are read again."
        )


def _entry_of(advice: Advice, label: str) -> dict[str, Any]:
    """Return the model's own entry, made from its profile if it has none."""
    name = label.lower()
    entry = advice.cacheops.get(name)
    if not isinstance(entry, dict) or "ops" not in entry:
        profile = model_profile(apps.get_model(label))
        ops = sorted(profile.ops) if profile is not None else []
        timeout = profile.timeout if profile is not None else _timeout()
        entry = {**(entry if isinstance(entry, dict) else {"timeout": timeout}), "ops": ops}
        advice.cacheops[name] = entry
    return entry


def _plain(entry: Any) -> Any:
    """Return a copy of an entry whose operations are a list."""
    if not isinstance(entry, Mapping):
        return entry
    ops = entry.get("ops")
    named = {"ops": sorted(ALL_OPS) if ops == "all" else [ops] if isinstance(ops, str) else sorted(ops or ())}
    return {**entry, **(named if "ops" in entry else {})}


def _timeout() -> int:
    return int((settings.CACHEOPS_DEFAULTS or {}).get("timeout", DEFAULT_TIMEOUT_SECONDS))


def _is_model(label: str) -> bool:
    try:
        apps.get_model(label)
    except (LookupError, ValueError):
        return False
    return True
