"""Coarsen the values that bound slices, so that the bounds of many slices make few dependency shapes.

A value of the data is as arbitrary as the data.  So the grid is coarser than that of constants in `derived_tokens`, and
may depend on the present: only the value that is stored says which grid it was.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

from django.db.models import Field

from ..utils import error_boundary
from . import derived_tokens
from .field_traits import TEXT_TYPES, internal_type, target_of

SIGNIFICANT_DIGITS = 1
DAY = datetime.timedelta(days=1)
# Times that are further from the present are known by month.
DAYS_KNOWN_BY_DAY = 7


def is_supported(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether values of `field` are bounds.  Texts are not: there would be too many."""
    return internal_type(target_of(field)) not in TEXT_TYPES and derived_tokens.is_supported(field, vendor, "<=")


def bound_token(field: Field[Any, Any], vendor: str, operator: str, value: Any) -> str | None:
    """Return the token of ``field <operator> value`` or NULL, None if it is not certain which rows meet that.

    `operator` is ``"<="`` or ``">="``; the value is as `field` loads it.
    """
    if value is None or not is_supported(field, vendor):
        return None
    choices = [(operator, value)]
    try:
        choices.insert(0, _outwards(operator, value))
    except Exception as error:
        # For instance for the last month that Python knows.
        error_boundary.reraise_interrupt(error)
    tokens = (derived_tokens.derived_token(field, vendor, each, [coarse], meets_null=True) for each, coarse in choices)
    return next((each for each in tokens if each is not None), None)


def _outwards(operator: str, value: Any) -> tuple[str, Any]:
    """Return a comparison with a coarser value that is met by all that meets this one."""
    kind = type(value)
    if kind in (int, float, decimal.Decimal):
        rounding = decimal.ROUND_CEILING if operator == "<=" else decimal.ROUND_FLOOR
        # The text of a double is closest to no other one, so that these texts have the order of the doubles.
        number = decimal.Decimal(repr(value) if kind is float else value)
        return operator, kind(decimal.Context(prec=SIGNIFICANT_DIGITS, rounding=rounding).plus(number))
    if kind is datetime.datetime:
        now = datetime.datetime.now(datetime.timezone.utc)
        if value.tzinfo is None:
            now = now.replace(tzinfo=None)
        else:
            value = value.astimezone(datetime.timezone.utc)
        return _of_period(operator, value.replace(hour=0, minute=0, second=0, microsecond=0), now)
    if kind is datetime.date:
        return _of_period(operator, value, datetime.datetime.now(datetime.timezone.utc).date())
    return operator, value


def _of_period(operator: str, day: Any, now: Any) -> tuple[str, Any]:
    """Return the comparison with the beginning of the day or month, or with that of the next one."""
    if abs(now - day) <= DAY * DAYS_KNOWN_BY_DAY:
        return ("<", day + DAY) if operator == "<=" else (">=", day)
    month = day.replace(day=1)
    return ("<", (month + 31 * DAY).replace(day=1)) if operator == "<=" else (">=", month)
