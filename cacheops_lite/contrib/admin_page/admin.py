"""The views: the page, and the invalidation of one model or of everything."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from ...conf import settings
from ...store import STORE_ERRORS, invalidator
from ...writes import invalidate_all, invalidate_model
from . import contents
from .models import Cache

logger = logging.getLogger("cacheops_lite")

EVERYTHING = "everything"


@admin.register(Cache)
class CacheAdmin(admin.ModelAdmin):
    """The page stands where the admin lists the rows of other models."""

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the page, and of invalidation."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="cacheops_admin_cache_changelist"),
            path("invalidate/", view(self.invalidate_view), name="cacheops_admin_cache_invalidate_all"),
            path("invalidate/<str:label>/", view(self.invalidate_view), name="cacheops_admin_cache_invalidate"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may look at the page."""
        return bool(getattr(request, "user", None) and request.user.has_perm(f"{self.opts.app_label}.view_cache"))

    def has_invalidate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may invalidate."""
        return request.user.has_perm(f"{self.opts.app_label}.invalidate_cache")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        minutes = contents.period(request.GET.get("minutes"))
        context = {
            **self._context(request, "Query cache"),
            "minutes": minutes,
            "periods": contents.PERIODS,
            "is_enabled": settings.CACHEOPS_ENABLED,
            "is_counted": settings.CACHEOPS_STATS,
            "may_invalidate": self.has_invalidate_permission(request),
            "models": [model._meta for model in contents.models_with_profile()],
            **contents.collect(minutes, with_values=django_settings.DEBUG),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "cacheops_admin/page.html", context)

    # A transaction would send the invalidation only after this view has told the user whether it worked.
    @transaction.non_atomic_requests
    def invalidate_view(self, request: HttpRequest, label: str = "") -> HttpResponse:
        """Ask whether to invalidate one model, or everything; after a POST do so."""
        if not self.has_invalidate_permission(request):
            raise PermissionDenied
        model = _model_of(label) if label else None
        if request.method == "POST":
            self._invalidate(request, model)
            may_look = self.has_view_permission(request)
            return redirect(self._url("cacheops_admin_cache_changelist" if may_look else "index"))
        context = {
            **self._context(request, "Invalidate the cache"),
            "target": model._meta.label if model is not None else "",
            "may_look": self.has_view_permission(request),
        }
        return TemplateResponse(request, "cacheops_admin/confirmation.html", context)

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        request.current_app = self.admin_site.name
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}

    def _url(self, name: str) -> str:
        return reverse(f"admin:{name}", current_app=self.admin_site.name)

    def _invalidate(self, request: HttpRequest, model: type[Model] | None) -> None:
        """Invalidate, log which user asked for it, and tell the user whether it worked."""
        name = EVERYTHING if model is None else model._meta.label
        if not settings.CACHEOPS_ENABLED:
            messages.warning(request, f"CACHEOPS_ENABLED is off, so {name} was not invalidated.")
            return
        try:
            _invalidate(model)
            is_delivered = not (invalidator.is_overdue() or invalidator.is_refused())
        except STORE_ERRORS:
            logger.exception("Can't invalidate %s, as asked for in the admin; it is retried", name)
            is_delivered = False
        outcome = "Invalidated" if is_delivered else "Tried to invalidate"
        logger.info("%s %s in the admin, asked for by user %s", outcome, name, request.user.pk)
        LogEntry.objects.create(
            user_id=request.user.pk or 0,
            content_type_id=ContentType.objects.get_for_model(Cache).pk,
            object_repr=name,
            action_flag=CHANGE,
            change_message=f"{outcome} {name}.",
        )
        if is_delivered:
            messages.success(request, f"Invalidated {name}.")
        else:
            messages.error(
                request,
                f"Redis can't be reached, so {name} is not invalidated yet. This process tries again until Redis "
                "answers.",
            )


def _model_of(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise Http404(f"There is no model {label!r}") from error


def _invalidate(model: type[Model] | None) -> None:
    if model is None:
        invalidate_all()
        return
    # The prefix of keys may depend on the database.
    for using in connections if settings.CACHEOPS_PREFIX else list(connections)[:1]:
        invalidate_model(model, using)
