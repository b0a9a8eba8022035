"""The hooks into Django: querysets and managers, raw querysets, prefetches, saves and deletes, signal receivers, the
execute wrapper that sees every statement, commits, cursors, the admin.  Each is installed and uninstalled by `apps`.

Not here: what a read or a write then does (`reads`, `writes`).
"""

from . import admin_hooks, execute_wrapper, prefetch, queryset, raw_queryset, save_delete, signal_receivers

__all__ = [
    "admin_hooks",
    "execute_wrapper",
    "prefetch",
    "queryset",
    "raw_queryset",
    "save_delete",
    "signal_receivers",
]
