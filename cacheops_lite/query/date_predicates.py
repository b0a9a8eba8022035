"""The range of a column that a condition on its year or its date implies."""

from __future__ import annotations

import datetime
from typing import Any

from django.conf import settings
from django.db.models import DateField, DateTimeField
from django.db.models.expressions import Col
from django.db.models.functions import ExtractYear, TruncDate
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    Range,
    YearLookup,
)

# A date begins at the same instant in all time zones, give or take this: no zone is farther from UTC.
MARGIN = datetime.timedelta(days=1)
DAY = datetime.timedelta(days=1)

# Pairs of an operator and the value that the column is compared with.
Ranges = list[tuple[str, Any]]


def ranges_of_dates(lookup: Any) -> tuple[Col, Ranges] | None:
    """Return the column that a lookup on its year or date reads and the ranges in which all rows lie that it finds.

    None for any other lookup.
    """
    kind, column = type(lookup.lhs), getattr(lookup.lhs, "lhs", None)
    if type(column) is not Col or kind not in (ExtractYear, TruncDate):
        return None
    has_times = isinstance(column.output_field, DateTimeField)
    if not has_times and not (isinstance(column.output_field, DateField) and kind is ExtractYear):
        return None
    try:
        dates = _dates(lookup, kind)
        return None if dates is None else (column, _edges(*dates, has_times))
    except (ValueError, OverflowError):
        # Python has no such date.
        return None


def _dates(lookup: Any, kind: type) -> tuple[datetime.date | None, datetime.date | None] | None:
    """Return the first date that the lookup finds, and the one after the last; None for no such limit.

    Raises ValueError or OverflowError.
    """
    is_year = kind is ExtractYear
    if is_year and not isinstance(lookup, YearLookup):
        return None
    values = list(lookup.rhs) if isinstance(lookup, Range) and isinstance(lookup.rhs, (list, tuple)) else [lookup.rhs]
    if not all(type(value) is (int if is_year else datetime.date) for value in values):
        return None
    spans = [
        (datetime.date(value, 1, 1), datetime.date(value + 1, 1, 1)) if is_year else (value, value + DAY)
        for value in values
    ]
    (first, after), (_, end) = spans[0], spans[-1]
    if isinstance(lookup, Range):
        return (first, end) if len(spans) == 2 else None
    if isinstance(lookup, Exact):
        return first, after
    if isinstance(lookup, GreaterThan):
        return after, None
    if isinstance(lookup, GreaterThanOrEqual):
        return first, None
    if isinstance(lookup, LessThan):
        return None, first
    return (None, after) if isinstance(lookup, LessThanOrEqual) else None


def _edges(first: datetime.date | None, end: datetime.date | None, has_times: bool) -> Ranges:
    found: Ranges = []
    for operator, day, sign in ((">=", first, -1), ("<", end, 1)):
        if day is not None:
            found.append((operator, _moment(day + sign * MARGIN) if has_times else day))
    return found


def _moment(day: datetime.date) -> datetime.datetime:
    zone = datetime.timezone.utc if settings.USE_TZ else None
    return datetime.datetime.combine(day, datetime.time(), zone)
