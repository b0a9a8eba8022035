"""Spans of hits, misses, fills and invalidations, as children of the span that is current when they end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings as django_settings
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from ...conf import settings
from ...observe import Decision, Invalidation, Outcome
from ...reads import parse_origin
from ...store import keys
from .. import labels
from . import attributes as names

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    Attributes: TypeAlias = dict[str, AttributeValue]

# The value of `names.DB_SYSTEM_NAME`: the cache is asked, not the database.
SYSTEM = "redis"
FILL, INVALIDATE = "fill", "invalidate"


class Spans:
    """Make spans by a tracer.  They have no values of the application's data, and SQL only if it is asked for."""

    def __init__(self, tracer: Tracer):
        self._tracer = tracer

    def on_decision(self, decision: Decision) -> None:
        """Make the span of a hit or a miss that ends now, and within it that of the fill."""
        if decision.outcome is Outcome.BYPASS:
            return
        end = time.time_ns()
        table = _table(decision.model)
        target = table or labels.read_label(decision)
        span = self._start(decision.operation, target, table, end, decision.seconds)
        if span.is_recording():
            span.set_attributes(_of_read(decision))
            if decision.fill_seconds:
                fill = self._start(FILL, target, table, end, decision.fill_seconds, parent=span)
                fill.set_attribute(names.SIZE, decision.size)
                fill.end(end)
        span.end(end)

    def on_invalidation(self, invalidation: Invalidation) -> None:
        """Make the span of an invalidation that was delivered just now."""
        end = time.time_ns()
        table = _table(invalidation.model) or _only(labels.tables_of(invalidation))
        span = self._start(INVALIDATE, table, table, end, invalidation.seconds)
        if span.is_recording():
            span.set_attributes(_of_invalidation(invalidation))
        span.end(end)

    def _start(
        self, operation: str, target: str, table: str, end: int, seconds: float, parent: Span | None = None
    ) -> Span:
        """Return a span that began `seconds` before `end`, which is in nanoseconds since 1970."""
        attributes: Attributes = {names.DB_SYSTEM_NAME: SYSTEM, names.DB_OPERATION_NAME: operation}
        if table:
            attributes[names.DB_COLLECTION_NAME] = table
        return self._tracer.start_span(
            f"{operation} {target}".strip(),
            context=None if parent is None else set_span_in_context(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=end - round(seconds * 1e9),
        )


def _of_read(decision: Decision) -> Attributes:
    attributes: Attributes = {
        names.MODEL: labels.read_label(decision),
        names.OUTCOME: decision.outcome.value,
        names.REASON: decision.reason.value,
        names.FINGERPRINT: decision.key.rpartition(":")[2],
        names.SIZE: decision.size,
        names.COMPUTE_SECONDS: decision.compute_seconds,
        **_of_caller(decision.caller),
    }
    if decision.model is not None and _is_sql_wanted():
        origin = parse_origin(decision.origin, decision.key.rpartition(f"{keys.NAMESPACE}v:")[0])
        statement = "" if origin is None else origin.statement()
        if statement:
            attributes[names.DB_QUERY_TEXT] = statement
    return attributes


def _of_invalidation(invalidation: Invalidation) -> Attributes:
    attributes: Attributes = {
        names.MODEL: labels.write_label(invalidation),
        names.WRITE: invalidation.operation,
        names.INVALIDATED: len(invalidation.dependencies),
        **_of_caller(invalidation.caller),
    }
    if invalidation.statement and _is_sql_wanted():
        attributes[names.DB_QUERY_TEXT] = invalidation.statement
    return attributes


def _of_caller(caller: str) -> Attributes:
    path, _, line = caller.rpartition(":")
    return {names.CODE_FILE_PATH: path, names.CODE_LINE_NUMBER: int(line)} if line.isdigit() else {}


def _is_sql_wanted() -> bool:
    return bool(settings.CACHEOPS_OPENTELEMETRY_SQL or django_settings.DEBUG)


def _table(model: Any) -> str:
    return "" if model is None else str(model._meta.db_table)


def _only(tables: set[str]) -> str:
    return tables.pop() if len(tables) == 1 else ""
