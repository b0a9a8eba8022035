"""Read from the database in Django's admin, unless ``CACHEOPS_CACHE_ADMIN`` is set."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import QuerySet

from ..conf import settings
from ..observe import Reason
from ..utils import Patches
from .queryset import without_cache

_patches = Patches()


def install() -> None:
    """Wrap ``get_queryset()`` of model admins and inlines, if the admin is installed."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.options import BaseModelAdmin

    # Django has no hook for admins that are registered before and after this app alike.
    _patches.replace(BaseModelAdmin, "get_queryset", get_queryset)


def uninstall() -> None:
    """Restore Django's method."""
    _patches.undo()


def get_queryset(self: Any, request: Any) -> QuerySet[Any]:
    """Replace `BaseModelAdmin.get_queryset`: do not cache, as editors need the latest data, also of other programs."""
    from django.contrib.admin.options import BaseModelAdmin

    queryset = _patches.original(BaseModelAdmin, "get_queryset")(self, request)
    return queryset if settings.CACHEOPS_CACHE_ADMIN else without_cache(queryset, Reason.ADMIN)
