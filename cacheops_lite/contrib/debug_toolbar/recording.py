"""Record the reads and writes of one request, with what is known only at the moment of each."""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...observe import Decision, Invalidation, activity, decisions, invalidations
from .call_stack import Call, call_stack, current_task


@dataclass(slots=True)
class RecordedRead:
    """A read and the application's calls that led to it."""

    decision: Decision
    stack: list[Call]


@dataclass(slots=True)
class RecordedWrite:
    """A write, the calls that led to its delivery, and the reads whose results it invalidated."""

    invalidation: Invalidation
    stack: list[Call]
    reads: list[Decision]


_current: ContextVar[Recording | None] = ContextVar("cacheops_toolbar_recording", default=None)


class Recording:
    """A context that records the reads and writes within it; more than one context in sequence can add to it."""

    def __init__(self) -> None:
        self.reads: list[RecordedRead] = []
        self.writes: list[RecordedWrite] = []
        self._open: ExitStack | None = None
        self._task: Any = None

    def __enter__(self) -> Recording:
        self._task = current_task()
        with ExitStack() as stack:
            stack.enter_context(activity.collect())
            decisions.observe(self._on_decision)
            stack.callback(decisions.unobserve, self._on_decision)
            invalidations.observe(self._on_invalidation)
            stack.callback(invalidations.unobserve, self._on_invalidation)
            stack.callback(_current.reset, _current.set(self))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *args: object) -> None:
        assert self._open is not None
        # A task that outlives the request must not keep it.
        self._task = None
        self._open.close()

    def _on_decision(self, decision: Decision) -> None:
        # All requests of the process call all observers.
        if _current.get() is self:
            self.reads.append(RecordedRead(decision, call_stack(self._task)))

    def _on_invalidation(self, invalidation: Invalidation) -> None:
        if _current.get() is self:
            # Asked now: later reads may depend on the same rows without having been invalidated.
            reads = activity.reads_met_by(invalidation)
            self.writes.append(RecordedWrite(invalidation, call_stack(self._task), reads))
