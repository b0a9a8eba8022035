"""The Django app that makes spans and metrics from the start of the process."""

from __future__ import annotations

from django.apps import AppConfig

from .installation import install


class OpenTelemetryConfig(AppConfig):
    name = "cacheops_lite.contrib.opentelemetry"
    label = "cacheops_opentelemetry"
    verbose_name = "Cacheops: OpenTelemetry"

    def ready(self) -> None:
        install()
