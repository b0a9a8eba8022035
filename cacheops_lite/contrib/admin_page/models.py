"""A model without a table: the admin lists it, and its permissions are those of the page."""

from __future__ import annotations

from django.db import models


class Cache(models.Model):
    """The cache.  There are no instances."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("view_cache", "Can look at the cache"),
            ("invalidate_cache", "Can invalidate the cache"),
        ]
        verbose_name = "cache"
        verbose_name_plural = "query cache"

    def __str__(self) -> str:
        return "cache"
