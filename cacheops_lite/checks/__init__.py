"""System checks of the settings, run by ``manage.py check`` and at the start of most commands.

Ids are stable; docs/checks.rst lists them.  No check connects to Redis or to a database.  A message says what is wrong
and why it matters; its hint says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.checks.registry import registry

from .connection import check_redis
from .databases import check_databases
from .deployment import check_exposure, check_shared_redis
from .messages import Messages
from .other_apps import check_apps
from .profiles import check_profiles
from .values import check_settings

TAG = "cacheops_lite"
CHECKS: list[Callable[..., Messages]] = [check_profiles, check_settings, check_redis, check_apps, check_databases]
# With ``manage.py check --deploy`` only.
DEPLOYMENT_CHECKS: list[Callable[..., Messages]] = [check_exposure, check_shared_redis]


def install() -> None:
    """Register the checks with Django."""
    for check in CHECKS:
        registry.register(check, TAG)
    for check in DEPLOYMENT_CHECKS:
        registry.register(check, TAG, deploy=True)


def uninstall() -> None:
    """Unregister the checks."""
    registry.registered_checks.difference_update(CHECKS)
    registry.deployment_checks.difference_update(DEPLOYMENT_CHECKS)
