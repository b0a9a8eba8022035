"""Begin and end to make spans and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from ...observe import decisions, invalidations

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

INSTRUMENTATION_NAME = "cacheops_lite"

_uninstall: list[Callable[[], None]] = []


def install(tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None) -> None:
    """Make spans and metrics of reads and writes with these providers, by default the global ones.  Idempotent.

    Raises ImproperlyConfigured if opentelemetry-api is not installed.
    """
    if _uninstall:
        return
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        raise ImproperlyConfigured(
            "cacheops_lite.contrib.opentelemetry needs the package opentelemetry-api, which is not installed. "
            "Install it with: pip install cacheops_lite[opentelemetry]"
        ) from error
    from .instruments import Instruments
    from .spans import Spans

    spans = Spans(trace.get_tracer(INSTRUMENTATION_NAME, tracer_provider=tracer_provider))
    instruments = Instruments(metrics.get_meter(INSTRUMENTATION_NAME, meter_provider=meter_provider))
    for observers in (spans, instruments):
        decisions.observe(observers.on_decision)
        invalidations.observe(observers.on_invalidation)
        _uninstall.append(lambda done=observers: decisions.unobserve(done.on_decision))
        _uninstall.append(lambda done=observers: invalidations.unobserve(done.on_invalidation))


def uninstall() -> None:
    """Make no more spans and metrics."""
    while _uninstall:
        _uninstall.pop()()
