"""The hooks into Django: querysets and managers, raw querysets, prefetches, saves and deletes, signal receivers, the
execute wrapper that sees every statement, commits, cursors, the admin.  `apps` installs and uninstalls them.

Not here: what a read then does (`reads`), and how a write is described, such as a ``bulk_create()`` (`writes`).
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
