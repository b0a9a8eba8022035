"""Django's admin: what it lists and edits comes from the database, unless ``CACHEOPS_CACHE_ADMIN`` says otherwise."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import QuerySet

from .conf import settings

_originals: dict[type, Any] = {}


def install() -> None:
    """Wrap the querysets of model admins and inlines, if the admin is installed."""
    if _originals or not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.options import BaseModelAdmin

    _originals[BaseModelAdmin] = BaseModelAdmin.get_queryset
    # There is no hook that serves admins which are registered before and after us alike.
    BaseModelAdmin.get_queryset = get_queryset  # type: ignore[method-assign]


def uninstall() -> None:
    """Leave them to Django."""
    for admin_class, original in _originals.items():
        admin_class.get_queryset = original  # type: ignore[attr-defined]
    _originals.clear()


def get_queryset(self: Any, request: Any) -> QuerySet[Any]:
    """`BaseModelAdmin.get_queryset`, uncached: who edits wants to see what is there, of other programs' writes too."""
    ((_, original),) = _originals.items()
    queryset = original(self, request)
    return queryset if settings.CACHEOPS_CACHE_ADMIN else queryset.nocache()
