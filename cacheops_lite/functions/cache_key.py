"""The keys of calls, which get, set and delete the cached results."""

from __future__ import annotations

from typing import Any

from ..store import MISS
from .backend_api import CacheMiss, async_variant


class CacheKey(str):
    """The key of a call, with methods to get, set and delete its cached result."""

    cache: Any
    timeout: float | None

    @classmethod
    def make(cls, value: str, cache: Any = None, timeout: float | None = None) -> CacheKey:
        self = cls(value)
        self.cache, self.timeout = cache, timeout
        return self

    def get(self) -> Any:
        """Return the cached result.  Raises CacheMiss when there is none."""
        value = self.cache.load(str(self))
        if value is MISS:
            raise CacheMiss(str(self))
        return value

    def set(self, value: Any) -> None:
        """Make `value` the cached result, for the timeout of the decorator."""
        self.cache.keep(str(self), value, self.timeout)

    def delete(self) -> None:
        """Delete the cached result.  For a view, delete all cached pages of the URL."""
        self.cache.drop(str(self))

    aget, aset, adelete = async_variant(get), async_variant(set), async_variant(delete)
