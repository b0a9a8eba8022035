"""The app: what is put in place when Django starts, each step with an undo."""

from __future__ import annotations

from django.apps import AppConfig

from . import adminsite, checks, conf, dbchecks, guard, operations, queryset, rawqueries, receivers, transaction


class CacheopsConfig(AppConfig):
    name = "cacheops_lite"
    label = "cacheops_lite"
    verbose_name = "Cacheops"

    def ready(self) -> None:
        install()


def install() -> None:
    """Make Django's querysets read through the cache and follow writes.  Idempotent."""
    conf.check_profiles()
    checks.install()
    dbchecks.install()
    queryset.install()
    rawqueries.install()
    guard.install()
    operations.install()
    receivers.install()
    adminsite.install()


def uninstall() -> None:
    """Leave Django as it was."""
    adminsite.uninstall()
    receivers.uninstall()
    operations.uninstall()
    guard.uninstall()
    rawqueries.uninstall()
    queryset.uninstall()
    checks.uninstall()
    dbchecks.uninstall()
    transaction.forget_all()
