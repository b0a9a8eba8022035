"""The Django app that counts from the start of the process."""

from __future__ import annotations

from django.apps import AppConfig

from .installation import install


class PrometheusConfig(AppConfig):
    name = "cacheops_lite.contrib.prometheus"
    label = "cacheops_prometheus"
    verbose_name = "Cacheops: metrics for Prometheus"

    def ready(self) -> None:
        install()
