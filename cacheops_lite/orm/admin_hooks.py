"""Django's admin: what it lists and edits comes from the database, unless ``CACHEOPS_CACHE_ADMIN`` says otherwise."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import QuerySet

from ..conf import settings
from ..utils import Patches

_patches = Patches()


def install() -> None:
    """Wrap the querysets of model admins and inlines, if the admin is installed."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.options import BaseModelAdmin

    # There is no hook that serves admins which are registered before and after us alike.
    _patches.replace(BaseModelAdmin, "get_queryset", get_queryset)


def uninstall() -> None:
    """Leave them to Django."""
    _patches.undo()


def get_queryset(self: Any, request: Any) -> QuerySet[Any]:
    """`BaseModelAdmin.get_queryset`, uncached: who edits wants to see what is there, of other programs' writes too."""
    from django.contrib.admin.options import BaseModelAdmin

    queryset = _patches.original(BaseModelAdmin, "get_queryset")(self, request)
    return queryset if settings.CACHEOPS_CACHE_ADMIN else queryset.nocache()
