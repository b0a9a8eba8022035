"""From a Django query to its cache key and dependencies.

`where_predicates` turns lookups, such as equality and ranges, into conditions; `read_set` finds the dependencies;
`fingerprint` and `plan_cache` keep what similar queries have in common; `compiler` compiles all others.
`row_recorder` captures and replays the rows of a result, `hydrator` makes instances of them.

A query whose content keeps it from being cached, such as a join to a table without a profile, is refused here
(`read_set` raises `Uncacheable`).  Not here: whether profile and transaction allow caching, and the read (`reads`).
"""

from . import compiler, row_dependencies, row_recorder
from .compiler import CompiledRead
from .expression_identity import NotIdentifiable, identity_of
from .fingerprint import NoFingerprint, fingerprint_of
from .hydrator import fast_model
from .key_columns import KeyColumns
from .plan_cache import NotPlannable, plan_for
from .query_walk import Uncacheable
from .read_identity import active_locale, model_layout, parameters_text
from .row_dependencies import RowLevelDependency
from .row_recorder import Capture, defensive_copy, mutable_positions
from .sql_template import SqlTemplate
from .where_predicates import MakeToken, token_of_value

__all__ = [
    "Capture",
    "CompiledRead",
    "KeyColumns",
    "MakeToken",
    "NoFingerprint",
    "NotIdentifiable",
    "NotPlannable",
    "RowLevelDependency",
    "SqlTemplate",
    "Uncacheable",
    "active_locale",
    "compiler",
    "defensive_copy",
    "fast_model",
    "fingerprint_of",
    "identity_of",
    "model_layout",
    "mutable_positions",
    "parameters_text",
    "plan_for",
    "row_dependencies",
    "row_recorder",
    "token_of_value",
]
