"""Signals about reads of the cache, invalidations and updates.

``cache_read(sender, func, hit)``
    Sent after each lookup in the cache, and for querysets that Django knows to be empty (``hit`` is then True).
    ``sender`` is the model of a queryset, or ``None`` for a decorated function, which is then passed as ``func``.
``cache_decision(sender, decision)``
    Sent when it is known what became of a read: a hit, a miss, or a read that did not use the cache.  ``sender`` is the
    model, or ``None`` for a decorated function; ``decision`` is a :class:`cacheops_lite.observe.Decision`.
``cache_invalidated(sender, obj_dict, invalidation)``
    Sent after results were invalidated.  ``sender`` is the model (``None``: everything).  ``obj_dict`` is the
    ``{attname: value}`` of the row that changed (``None``: the whole table).  ``invalidation`` is a
    :class:`cacheops_lite.observe.Invalidation`: the write, and the names of the dependencies that it invalidated.

``pre_update(sender, queryset, values, using)``, ``post_update(sender, queryset, values, using, rows)``
    Sent before and after ``QuerySet.update()`` of any model, with the queryset, the values by name, the database's
    alias, and after the update the number of rows.  Also sent for updates that Django itself does, as in
    ``bulk_update()``.  Receivers run in the transaction of the update, if there is one, and their exceptions propagate.

Exceptions of receivers of the first three signals are logged: they can't break a read or a commit.
"""

from django.db.models.signals import ModelSignal
from django.dispatch import Signal

__all__ = ["cache_decision", "cache_invalidated", "cache_read", "post_update", "pre_update"]

cache_decision = Signal()
cache_read = Signal()
cache_invalidated = Signal()
pre_update = ModelSignal()
post_update = ModelSignal()
