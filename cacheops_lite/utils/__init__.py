"""Small tools that know nothing of caching: a bounded LRU map, fork handling, monkeypatches with an undo, the error
boundary around code that Django alone would not run.

Not here: anything that knows Django's ORM, Redis or the settings.
"""

from . import error_boundary
from .error_boundary import attempted
from .fork import in_children
from .html_whitespace import tidied
from .lru import LruMap
from .monkeypatch import Patches

__all__ = [
    "LruMap",
    "Patches",
    "attempted",
    "error_boundary",
    "in_children",
    "tidied",
]
