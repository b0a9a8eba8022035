"""What became of reads and writes, and why: reasons, decisions, invalidations and counters, and who consumes them.

Not here: the decisions themselves, which `reads`, `query` and `orm` make.
"""

from . import activity, counters, decisions, invalidations
from .counters import Counted
from .decisions import Bypass, Decision
from .invalidations import Invalidation
from .reasons import Outcome, Reason
from .report import CacheReport

__all__ = [
    "Bypass",
    "CacheReport",
    "Counted",
    "Decision",
    "Invalidation",
    "Outcome",
    "Reason",
    "activity",
    "counters",
    "decisions",
    "invalidations",
]
