"""An automatic, Redis-backed ORM query cache for Django that never serves stale data."""

from .decorators import cached_as
from .invalidation import invalidate_all, invalidate_model, invalidate_obj, no_invalidation

__version__ = "0.1.0"
VERSION = tuple(int(part) for part in __version__.split("."))

__all__ = [
    "cached_as",
    "invalidate_all",
    "invalidate_model",
    "invalidate_obj",
    "no_invalidation",
]
