"""The Django app: installs all hooks when Django starts, and can remove them again."""

from __future__ import annotations

from django.apps import AppConfig

from . import checks, conf, database_checks
from .observe import counters, decisions
from .orm import admin_hooks, execute_wrapper, prefetch, queryset, raw_queryset, save_delete, signal_receivers
from .store import database_comparison, database_creation, rollback
from .writes import unit_of_work


class CacheopsConfig(AppConfig):
    name = "cacheops_lite"
    label = "cacheops_lite"
    verbose_name = "Cacheops"

    def ready(self) -> None:
        install()


def install() -> None:
    """Let Django's querysets read through the cache, and let its writes invalidate.  Idempotent."""
    conf.check_profiles()
    counters.install()
    decisions.install()
    checks.install()
    database_checks.install()
    database_comparison.install()
    database_creation.install()
    rollback.install()
    queryset.install()
    raw_queryset.install()
    prefetch.install()
    execute_wrapper.install()
    save_delete.install()
    signal_receivers.install()
    admin_hooks.install()


def uninstall() -> None:
    """Remove all hooks from Django."""
    admin_hooks.uninstall()
    signal_receivers.uninstall()
    save_delete.uninstall()
    execute_wrapper.uninstall()
    prefetch.uninstall()
    raw_queryset.uninstall()
    queryset.uninstall()
    rollback.uninstall()
    database_creation.uninstall()
    database_comparison.uninstall()
    checks.uninstall()
    database_checks.uninstall()
    counters.uninstall()
    unit_of_work.forget_all()
