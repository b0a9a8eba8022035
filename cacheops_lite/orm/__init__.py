"""DOOR"""

from . import admin_hooks, execute_wrapper, queryset, raw_queryset, save_delete, signal_receivers

__all__ = [
    "admin_hooks",
    "execute_wrapper",
    "queryset",
    "raw_queryset",
    "save_delete",
    "signal_receivers",
]
