"""The methods that managers get, so that caching can be controlled before a queryset is made."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.manager import BaseManager

from ..conf import Operation, Ops
from ..reads import CacheReport


class ManagerMixin(BaseManager[Model]):
    """The methods that are put into `BaseManager`: control of caching."""

    def cache(self, ops: Ops | None = None, timeout: int | None = None, lock: bool | None = None) -> Any:
        """Call `QuerySetMixin.cache` on a queryset of all objects."""
        return self.get_queryset().cache(ops, timeout, lock)

    def nocache(self) -> Any:
        """Call `QuerySetMixin.nocache` on a queryset of all objects."""
        return self.get_queryset().nocache()

    def explain_cache(self, operation: Operation = "fetch", *args: Any, **kwargs: Any) -> CacheReport:
        """Call `QuerySetMixin.explain_cache` on a queryset of all objects."""
        return self.get_queryset().explain_cache(operation, *args, **kwargs)

    def inplace(self) -> Any:
        """Call `QuerySetMixin.inplace` on a queryset of all objects."""
        return self.get_queryset().inplace()

    def invalidated_update(self, **kwargs: Any) -> int:
        """Call `QuerySetMixin.invalidated_update` on a queryset of all objects."""
        return self.get_queryset().invalidated_update(**kwargs)
