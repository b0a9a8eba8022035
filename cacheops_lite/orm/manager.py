"""The methods that managers get, so that caching can be controlled before a queryset is made."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.manager import BaseManager

from ..reads import CacheReport


class ManagerMixin(BaseManager[Model]):
    """The methods that are put into `BaseManager`: control of caching."""

    def cache(self, *args: Any, **kwargs: Any) -> Any:
        """Call `QuerySetMixin.cache` on a queryset of all objects."""
        return self.get_queryset().cache(*args, **kwargs)  # type: ignore[attr-defined]

    def nocache(self) -> Any:
        """Call `QuerySetMixin.nocache` on a queryset of all objects."""
        return self.get_queryset().nocache()  # type: ignore[attr-defined]

    def explain_cache(self, operation: str = "fetch", *args: Any, **kwargs: Any) -> CacheReport:
        """Call `QuerySetMixin.explain_cache` on a queryset of all objects."""
        return self.get_queryset().explain_cache(operation, *args, **kwargs)  # type: ignore[attr-defined]

    def inplace(self) -> Any:
        """Call `QuerySetMixin.inplace` on a queryset of all objects."""
        return self.get_queryset().inplace()  # type: ignore[attr-defined]

    def invalidated_update(self, **kwargs: Any) -> int:
        """Call `QuerySetMixin.invalidated_update` on a queryset of all objects."""
        return self.get_queryset().invalidated_update(**kwargs)  # type: ignore[attr-defined]
