"""The Django app of the page."""

from __future__ import annotations

from django.apps import AppConfig


class AdminPageConfig(AppConfig):
    name = "cacheops_lite.contrib.admin_page"
    label = "cacheops_admin"
    verbose_name = "Cacheops"
    default_auto_field = "django.db.models.AutoField"
