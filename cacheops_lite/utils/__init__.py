"""DOOR"""

from . import error_boundary
from .error_boundary import attempted
from .fork import in_children
from .html_whitespace import tidied
from .lru import Lately
from .monkeypatch import Patches

__all__ = [
    "Lately",
    "Patches",
    "attempted",
    "error_boundary",
    "in_children",
    "tidied",
]
