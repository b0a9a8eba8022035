"""Check for other apps that cache querysets."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from .messages import Messages, error, warning


def check_apps(app_configs: Any, **kwargs: Any) -> Messages:
    """Check for other apps that cache querysets."""
    messages: Messages = []
    if apps.is_installed("cacheops"):
        message = "INSTALLED_APPS has both cacheops and cacheops_lite, which patch the same methods of querysets."
        messages.append(error(9, message, "Remove one of them."))
    if apps.is_installed("cachalot"):
        message = (
            "INSTALLED_APPS has both cachalot and cacheops_lite: results are cached twice, and those that cachalot "
            "caches are invalidated only by its own rules."
        )
        messages.append(warning(5, message, "Remove one of them."))
    return messages
