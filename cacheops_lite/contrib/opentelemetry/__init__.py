"""Spans and metrics for OpenTelemetry: hits, misses, fills and invalidations.

Add ``"cacheops_lite.contrib.opentelemetry"`` to ``INSTALLED_APPS``, or call `install`.  See docs/monitoring.rst.
"""

from .installation import install, uninstall

__all__ = ["install", "uninstall"]
