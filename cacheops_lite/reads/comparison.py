"""Compare a cached result with a fresh one of the same query."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet

# Databases may add floats in another order each time.
RELATIVE_TOLERANCE = 1e-9


def is_same(queryset: QuerySet[Any], cached: Any, fresh: Any) -> bool:
    """Return whether two results of a queryset mean the same.

    Where the query does not determine the order of rows, it may differ; and of a slice in such an order nothing is
    known, so it counts as the same.
    """
    if are_equal(cached, fresh):
        return True
    if not isinstance(cached, list) or not isinstance(fresh, list) or _has_total_order(queryset):
        return False
    return queryset.query.is_sliced or _are_equal_in_any_order(cached, fresh)


def are_equal(cached: Any, fresh: Any) -> bool:
    """Return whether two values, or rows of values in the same order, are equal."""
    if isinstance(cached, (list, tuple)) and isinstance(fresh, (list, tuple)):
        return len(cached) == len(fresh) and all(map(are_equal, cached, fresh))
    if isinstance(cached, dict) and isinstance(fresh, dict):
        return cached.keys() == fresh.keys() and all(are_equal(value, fresh[name]) for name, value in cached.items())
    if isinstance(cached, float) and isinstance(fresh, float):
        both_nan = math.isnan(cached) and math.isnan(fresh)
        return both_nan or math.isclose(cached, fresh, rel_tol=RELATIVE_TOLERANCE)
    if isinstance(cached, memoryview) or isinstance(fresh, memoryview):
        return bytes(cached) == bytes(fresh)
    return bool(cached == fresh) or _text(cached) == _text(fresh)


def _text(value: Any) -> bytes:
    """Return the same bytes for equal values of classes that define no equality."""
    return pickle.dumps(bytes(value) if isinstance(value, memoryview) else value)


def _are_equal_in_any_order(cached: list[Any], fresh: list[Any]) -> bool:
    return Counter(map(_row_text, cached)) == Counter(map(_row_text, fresh))


def _row_text(row: Any) -> Any:
    return tuple(map(_text, row)) if isinstance(row, (list, tuple)) else _text(row)


def _has_total_order(queryset: QuerySet[Any]) -> bool:
    """Return whether the order of rows is certain: by a column that is unique and not null."""
    query: Any = queryset.query
    options = query.get_meta()
    ordering = query.order_by or (options.ordering if query.default_ordering else ())
    if query.extra_order_by or query.combinator or query.group_by is not None:
        return False
    return any(isinstance(name, str) and _is_unique(options, name.lstrip("-")) for name in ordering)


def _is_unique(options: Any, name: str) -> bool:
    try:
        field = options.pk if name == "pk" else options.get_field(name)
    except FieldDoesNotExist:
        return False
    return bool(getattr(field, "unique", False) and not field.null)
