"""A panel for Django Debug Toolbar: the cached reads of a request, and what its writes invalidated.

Not here: the records that the panel shows (`observe`), and the comparison with the database (`inspection`).
"""

from .panel import CacheopsPanel

__all__ = ["CacheopsPanel"]
