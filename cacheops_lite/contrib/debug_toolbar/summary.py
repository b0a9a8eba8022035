"""Turn a recording into the plain values that the toolbar stores as JSON and the template shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...observe import Decision, Invalidation, Outcome, activity
from ...store import describe_dependency
from .call_stack import Call, is_library_file
from .recording import RecordedRead, RecordedWrite, Recording

# What is shown of long lists; the rest is counted.
MAX_READS_OF_GROUP = 50
MAX_DEPENDENCIES = 20
MAX_RESULTS = 20
# This many reads of the same kind from the same line are marked as repeated.
REPEATED = 2


def summarize(recording: Recording) -> dict[str, Any]:
    """Return the groups of reads, the writes and the totals of a recording."""
    groups: dict[Any, list[RecordedRead]] = {}
    for each in recording.reads:
        groups.setdefault(_group_key(each), []).append(each)
    writes = [_write(each) for each in recording.writes]
    return {
        "groups": [_group(each) for each in groups.values()],
        "writes": writes,
        "totals": {
            **_sums([each.decision for each in recording.reads]),
            "repeated": sum(len(each) >= REPEATED for each in groups.values()),
            "writes": len(writes),
            "invalidated": len({each.key for write in recording.writes for each in write.reads}),
        },
    }


def _group_key(read: RecordedRead) -> Any:
    """Return a key that is equal for reads that one line of code repeats, as in a loop over rows (N+1)."""
    decision = read.decision
    return decision.operation, _label(decision), tuple(read.stack) or decision.caller


def _group(reads: Sequence[RecordedRead]) -> dict[str, Any]:
    first = reads[0]
    return {
        "operation": first.decision.operation,
        "label": _label(first.decision),
        "caller": _caller(first.decision.caller, first.stack),
        "stack": [each._asdict() for each in first.stack],
        "is_repeated": len(reads) >= REPEATED,
        "reads": [_read(each.decision) for each in reads[:MAX_READS_OF_GROUP]],
        "more_reads": max(len(reads) - MAX_READS_OF_GROUP, 0),
        **_sums([each.decision for each in reads]),
    }


def _sums(decisions: Sequence[Decision]) -> dict[str, Any]:
    hits = [each for each in decisions if each.outcome is Outcome.HIT]
    return {
        "count": len(decisions),
        "hits": len(hits),
        "misses": sum(each.outcome is Outcome.MISS for each in decisions),
        "bypasses": sum(each.outcome is Outcome.BYPASS for each in decisions),
        "milliseconds": 1000 * sum(each.seconds for each in decisions),
        "database_milliseconds": 1000 * sum(each.compute_seconds for each in decisions),
        "saved_milliseconds": 1000 * sum(each.compute_seconds - each.seconds for each in hits),
        "size": sum(each.size for each in decisions),
    }


def _read(decision: Decision) -> dict[str, Any]:
    cause = activity.cause_of(decision)
    words = [describe_dependency(name) for name in decision.dependencies[:MAX_DEPENDENCIES]]
    if decision.outcome is Outcome.HIT:
        words += [
            describe_dependency(table).replace(": any row", ": the joined rows of the result", 1)
            for table in decision.joined_tables
        ]
    return {
        "key": decision.key,
        "outcome": decision.outcome.value,
        "reason": decision.reason.value,
        "text": decision.reason.text,
        "detail": decision.detail,
        "hint": decision.reason.hint,
        "using": decision.using,
        "milliseconds": 1000 * decision.seconds,
        "database_milliseconds": 1000 * decision.compute_seconds,
        "size": decision.size,
        "dependencies": words,
        "more_dependencies": max(len(decision.dependencies) - MAX_DEPENDENCIES, 0),
        "cause": None if cause is None else _named_write(cause, cause.caller),
    }


def _write(write: RecordedWrite) -> dict[str, Any]:
    invalidation = write.invalidation
    return {
        **_named_write(invalidation, _caller(invalidation.caller, write.stack)),
        "using": invalidation.using,
        "dependencies": list(map(describe_dependency, invalidation.dependencies[:MAX_DEPENDENCIES])),
        "more_dependencies": max(len(invalidation.dependencies) - MAX_DEPENDENCIES, 0),
        "results": [_named_read(each) for each in write.reads[:MAX_RESULTS]],
        "more_results": max(len(write.reads) - MAX_RESULTS, 0),
    }


def _named_write(invalidation: Invalidation, caller: str) -> dict[str, Any]:
    return {
        "operation": invalidation.operation,
        "label": "" if invalidation.model is None else invalidation.model._meta.label,
        "statement": invalidation.statement,
        "caller": caller,
    }


def _named_read(decision: Decision) -> dict[str, Any]:
    return {"operation": decision.operation, "label": _label(decision), "caller": decision.caller}


def _label(decision: Decision) -> str:
    if decision.model is not None:
        return str(decision.model._meta.label)
    return f"{getattr(decision.func, '__module__', '')}.{getattr(decision.func, '__qualname__', decision.func)}"


def _caller(caller: str, stack: Iterable[Call]) -> str:
    """Return the line of the read or write: `caller`, or the coroutine's line if `caller` is only its thread."""
    own = [each for each in stack if each.function != "template"]
    return f"{own[-1].file}:{own[-1].line}" if own and is_library_file(caller) else caller
