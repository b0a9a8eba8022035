"""General helpers: a bounded LRU map, fork hooks, reversible monkeypatches, HTML whitespace, and the error boundary.

Not here: anything that knows Django's ORM, Redis or the settings, except their exceptions (`error_boundary`).
"""

from . import error_boundary
from .error_boundary import call_or_default
from .fork import after_fork_in_child
from .html_whitespace import collapse_whitespace
from .lru import LruMap
from .monkeypatch import Patches

__all__ = [
    "LruMap",
    "Patches",
    "after_fork_in_child",
    "call_or_default",
    "collapse_whitespace",
    "error_boundary",
]
