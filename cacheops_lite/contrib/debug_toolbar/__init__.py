"""A panel for Django Debug Toolbar: the cached reads of a request, and what its writes invalidated.

Not here: the records that the panel shows (`observe`), and the comparison with the database (`inspection`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .panel import CacheopsPanel

__all__ = ["CacheopsPanel"]


def __getattr__(name: str) -> Any:
    """Import the panel when it is asked for: the toolbar reads the settings when it is imported."""
    if name == "CacheopsPanel":
        from .panel import CacheopsPanel

        return CacheopsPanel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
