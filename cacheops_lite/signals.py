"""Signals for those who watch the cache.

``cache_read(sender, func, hit)``
    After each lookup.  ``sender`` is the model of a queryset, or ``None`` for a decorated function, which comes as
    ``func``.
``cache_invalidated(sender, obj_dict)``
    After results were invalidated.  ``sender`` is the model (``None``: everything), ``obj_dict`` the ``{attname:
    value}`` of the row that changed (``None``: the whole table).

Receivers can't break a read or a commit: what they raise is logged.
"""

from django.dispatch import Signal

__all__ = ["cache_invalidated", "cache_read"]

cache_read = Signal()
cache_invalidated = Signal()
