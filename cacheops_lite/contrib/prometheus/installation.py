"""Start and stop feeding metrics of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from ...observe import decisions, invalidations

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .collectors import Collectors

_installed: Collectors | None = None


def install(registry: CollectorRegistry | None = None) -> None:
    """Count reads and writes in metrics of `registry`, by default prometheus_client's own.  Idempotent.

    Raises ImproperlyConfigured if prometheus_client is not installed.
    """
    global _installed
    if _installed is not None:
        return
    try:
        import prometheus_client
    except ImportError as error:
        raise ImproperlyConfigured(
            "cacheops_lite.contrib.prometheus needs the package prometheus_client, which is not installed. "
            "Install it with: pip install cacheops_lite[prometheus]"
        ) from error
    from .collectors import Collectors

    _installed = Collectors(registry or prometheus_client.REGISTRY)
    decisions.observe(_installed.on_decision)
    invalidations.observe(_installed.on_invalidation)


def uninstall() -> None:
    """Stop counting, and remove the metrics."""
    global _installed
    if _installed is not None:
        collectors, _installed = _installed, None
        decisions.unobserve(collectors.on_decision)
        invalidations.unobserve(collectors.on_invalidation)
        collectors.unregister()
