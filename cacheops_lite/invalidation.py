"""Re-export manual invalidation under the import path of django-cacheops; the code is in `writes.manual`."""

from .writes import invalidate_all, invalidate_model, invalidate_obj, no_invalidation

__all__ = ["invalidate_all", "invalidate_model", "invalidate_obj", "no_invalidation"]
