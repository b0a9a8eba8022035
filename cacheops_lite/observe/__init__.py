"""What became of reads, and why: reasons, decisions, and who consumes them.

Not here: the decisions themselves, which `reads`, `query` and `orm` make.
"""

from . import decisions
from .decisions import Bypass, Decision
from .reasons import Outcome, Reason

__all__ = [
    "Bypass",
    "Decision",
    "Outcome",
    "Reason",
    "decisions",
]
