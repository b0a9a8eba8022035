"""Names of reads and writes in metrics: labels of models and names of functions, never values of rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from ..inspection import labels_by_table
from ..observe import Decision, Invalidation, counters

# The label of what has no name of its own, and of all functions beyond this number.
OTHER = "other"
MAX_FUNCTIONS = 1000

_functions: set[str] = set()


def read_label(decision: Decision) -> str:
    """Return the label of the model that was read, or the dotted name of the decorated function."""
    if decision.model is not None:
        return counters.label_of(decision.model)
    if not hasattr(decision.func, "__qualname__"):
        # Such as a partial function, whose text has the values of its arguments.
        return OTHER
    name = counters.label_of(decision.func)
    if name not in _functions:
        if len(_functions) >= MAX_FUNCTIONS:
            return OTHER
        _functions.add(name)
    return name


def write_label(invalidation: Invalidation) -> str:
    """Return the label of the model that was written; `OTHER` if it is not exactly one."""
    model: type[Model] | None = invalidation.model
    if model is not None:
        return counters.label_of(model)
    labels = {table_label(name) for name in tables_of(invalidation)}
    return labels.pop() if len(labels) == 1 else OTHER


def tables_of(invalidation: Invalidation) -> set[str]:
    """Return the tables that were written, as they are named in keys."""
    changes: Any = invalidation.changes
    return {*invalidation.tables, *(change.table for change in changes)}


def dropped_by_model(invalidation: Invalidation) -> dict[str, int]:
    """Return how many dependencies of cached results a write dropped, by the label of their model."""
    found: dict[str, int] = {}
    for name in invalidation.dependencies:
        label = table_label(name.partition(":")[0])
        found[label] = found.get(label, 0) + 1
    return found


def table_label(table: str) -> str:
    """Return the label of the model of a table, as it is named in keys."""
    return labels_by_table().get(table, OTHER)
