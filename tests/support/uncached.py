"""Reads past the cache. Processes of a load import it, so it imports little."""

from __future__ import annotations

from collections.abc import Callable

from django.test import override_settings


def uncached(read: Callable[[], object]) -> object:
    """Return the result of `read` with the cache disabled."""
    with override_settings(CACHEOPS_ENABLED=False):
        return read()
