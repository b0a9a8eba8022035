"""Types for annotations: querysets and managers with the methods of this package, and decorated functions.

At runtime `CachedQuerySet` and `CachedManager` are Django's own classes, which the app extends when Django starts.
Type checkers read their methods from ``typing.pyi``.
"""

from __future__ import annotations

from django.db.models import Manager as CachedManager
from django.db.models import QuerySet as CachedQuerySet

from .conf import Operation, Ops
from .functions import CachedAsFunction, CachedAsView, CachedFunction, CachedView, Sample

__all__ = [
    "CachedAsFunction",
    "CachedAsView",
    "CachedFunction",
    "CachedManager",
    "CachedQuerySet",
    "CachedView",
    "Operation",
    "Ops",
    "Sample",
]
