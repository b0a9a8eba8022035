"""DOOR"""

from . import compiler, plan_cache, row_dependencies, row_recorder
from .compiler import Compiled, context, model_layout, parameters
from .expression_identity import Untold, identity_of
from .fingerprint import Shapeless, shape_of
from .hydrator import stand_in
from .plan_cache import Unplanned, plan_for
from .read_set import Uncacheable
from .row_dependencies import Narrowing
from .row_recorder import Capture, mutable_among, untouchable
from .sql_template import Composed
from .where_predicates import Tokens, own_tokens

__all__ = [
    "Capture",
    "Compiled",
    "Composed",
    "Narrowing",
    "Shapeless",
    "Tokens",
    "Uncacheable",
    "Unplanned",
    "Untold",
    "compiler",
    "context",
    "identity_of",
    "model_layout",
    "mutable_among",
    "own_tokens",
    "parameters",
    "plan_cache",
    "plan_for",
    "row_dependencies",
    "row_recorder",
    "shape_of",
    "stand_in",
    "untouchable",
]
