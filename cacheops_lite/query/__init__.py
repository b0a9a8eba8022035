"""From a Django query to its cache key and dependencies: the WHERE tree as conditions, the read set, the fingerprint,
the query plan, and the rows of a result (recorded, replayed, hydrated).

Not here: whether a query may be cached now, and the read itself (`reads`).
"""

from . import compiler, plan_cache, row_dependencies, row_recorder
from .compiler import Compiled, context, model_layout, parameters
from .expression_identity import NotIdentifiable, identity_of
from .fingerprint import NoFingerprint, fingerprint_of
from .hydrator import stand_in
from .plan_cache import NotPlannable, plan_for
from .read_set import Uncacheable
from .row_dependencies import RowLevelDependency
from .row_recorder import Capture, mutable_among, untouchable
from .sql_template import Composed
from .where_predicates import Tokens, own_tokens

__all__ = [
    "Capture",
    "Compiled",
    "Composed",
    "NoFingerprint",
    "NotIdentifiable",
    "NotPlannable",
    "RowLevelDependency",
    "Tokens",
    "Uncacheable",
    "compiler",
    "context",
    "fingerprint_of",
    "identity_of",
    "model_layout",
    "mutable_among",
    "own_tokens",
    "parameters",
    "plan_cache",
    "plan_for",
    "row_dependencies",
    "row_recorder",
    "stand_in",
    "untouchable",
]
