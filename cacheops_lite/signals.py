"""Signals for those who watch the cache.

``cache_read(sender, func, hit)``
    After each lookup.  ``sender`` is the model of a queryset, or ``None`` for a decorated function, which comes as
    ``func``.
``cache_invalidated(sender, obj_dict)``
    After results were invalidated.  ``sender`` is the model (``None``: everything), ``obj_dict`` the ``{attname:
    value}`` of the row that changed (``None``: the whole table).

``pre_update(sender, queryset, values, using)``, ``post_update(sender, queryset, values, using, rows)``
    Before and after ``QuerySet.update()`` of any model: the queryset, the values by name, the database's alias, and
    after it the number of rows.  Also for what Django itself writes that way, as in ``bulk_update()``.  In the
    transaction of the update, if there is one; what receivers raise is raised.

Receivers of the first two can't break a read or a commit: what they raise is logged.
"""

from django.db.models.signals import ModelSignal
from django.dispatch import Signal

__all__ = ["cache_invalidated", "cache_read", "post_update", "pre_update"]

cache_read = Signal()
cache_invalidated = Signal()
pre_update = ModelSignal()
post_update = ModelSignal()
