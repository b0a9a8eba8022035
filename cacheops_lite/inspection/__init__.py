"""Look into what is cached: statistics of all processes, the values that Redis has, their comparison with the database,
and an examination of the Redis server.

Not here: what shows it (`management`, `contrib`), and the records that statistics count (`observe`).
"""

from .advice import advise
from .doctor import LEVELS, Examination, Finding, examine
from .statistics import (
    MAX_MINUTES,
    Moment,
    ReadStatistics,
    Statistics,
    labels_by_table,
    over_time,
    statistics,
)
from .stored_values import (
    StoredValue,
    hottest_dependencies,
    largest_values,
    load,
    load_with_dependencies,
    number_of_keys,
    remove,
    value_keys,
)
from .verification import Verdict, verify

__all__ = [
    "LEVELS",
    "MAX_MINUTES",
    "Examination",
    "Finding",
    "Moment",
    "ReadStatistics",
    "Statistics",
    "StoredValue",
    "Verdict",
    "advise",
    "examine",
    "hottest_dependencies",
    "labels_by_table",
    "largest_values",
    "load",
    "load_with_dependencies",
    "number_of_keys",
    "over_time",
    "remove",
    "statistics",
    "value_keys",
    "verify",
]
