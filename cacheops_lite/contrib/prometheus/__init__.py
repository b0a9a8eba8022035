"""Metrics for Prometheus: what became of reads, what hits saved, and what writes invalidated.

Add ``"cacheops_lite.contrib.prometheus"`` to ``INSTALLED_APPS``, or call `install`.  See docs/monitoring.rst.
"""

from .installation import install, uninstall

__all__ = ["install", "uninstall"]
