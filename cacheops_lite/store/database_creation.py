"""Let a database that was just created begin without results: those under its name are of an earlier one."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connections
from django.db.models.signals import pre_migrate

from ..conf import settings
from .database_comparison import compare_again
from .database_names import database_name, name_in_settings
from .invalidator import invalidate
from .namespaces import prefixes_with_name
from .outage_log import outages
from .redis_errors import STORE_ERRORS
from .write_set import WriteSet

_UID = "cacheops_lite.store.database_creation"

# By alias and NAME, the databases that this process has looked at: Django sends the signal for each app.
_migrated: set[tuple[str, Any]] = set()


def install() -> None:
    """Look at each database before it is migrated for the first time."""
    pre_migrate.connect(_on_pre_migrate, dispatch_uid=_UID)


def uninstall() -> None:
    """Stop doing so."""
    pre_migrate.disconnect(dispatch_uid=_UID)


def _on_pre_migrate(sender: Any, using: str, **kwargs: Any) -> None:
    database = using, name_in_settings(using)
    if not settings.CACHEOPS_ENABLED or database in _migrated:
        return
    _migrated.add(database)
    if not connections[using].introspection.table_names():
        try:
            _begin_anew(using)
        except STORE_ERRORS as error:
            outages.report_failure(logging.WARNING, "Results of an earlier database may still be in the cache", error)


def _begin_anew(alias: str) -> None:
    """Remove all results of a database.

    If Redis can't be reached, its error is raised, and they are removed before this process reads from Redis again.
    """
    compare_again(alias)
    invalidate({prefix: WriteSet(everything=True) for prefix in prefixes_with_name(database_name(alias))})
