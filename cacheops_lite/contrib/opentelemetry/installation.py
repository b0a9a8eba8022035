"""Start and stop making spans and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from ...observe import decisions, invalidations

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .instruments import Instruments
    from .spans import Spans

INSTRUMENTATION_NAME = "cacheops_lite"

_installed: list[Spans | Instruments] = []


def install(tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None) -> None:
    """Make spans and metrics of reads and writes with these providers, by default the global ones.  Idempotent.

    Raises ImproperlyConfigured if opentelemetry-api is not installed.
    """
    if _installed:
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

    _installed.append(Spans(trace.get_tracer(INSTRUMENTATION_NAME, tracer_provider=tracer_provider)))
    _installed.append(Instruments(metrics.get_meter(INSTRUMENTATION_NAME, meter_provider=meter_provider)))
    for each in _installed:
        decisions.observe(each.on_decision)
        invalidations.observe(each.on_invalidation)


def uninstall() -> None:
    """Stop making spans and metrics."""
    while _installed:
        each = _installed.pop()
        decisions.unobserve(each.on_decision)
        invalidations.unobserve(each.on_invalidation)
