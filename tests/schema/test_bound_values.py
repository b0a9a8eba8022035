"""Bounds of slices are widened outwards to a coarse grid."""

import datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from cacheops_lite.schema import bound_values, derived_conditions, tokenizer
from tests.rich.models import Sample

UTC = datetime.timezone.utc
NOW = timezone.now()


def field(name):
    return Sample._meta.get_field(name)


def token(name, operator, value):
    return bound_values.bound_token(field(name), connection.vendor, operator, value)


@pytest.mark.parametrize(
    ("name", "value", "upper", "lower"),
    [
        ("whole", 1234, "<=2000", ">=1000"),
        ("whole", -1234, "<=-1000", ">=-2000"),
        ("whole", 30, "<=30", ">=30"),
        ("whole", 0, "<=0", ">=0"),
        # The next number on the grid is none that the column can have.
        ("whole", 2**31 - 1, "<=2200000000", ">=2000000000"),
        ("amount", Decimal("12.34"), "<=20", ">=10"),
        ("amount", Decimal("-0.00"), "<=0", ">=0"),
        ("ratio", 0.25, "<=0.3", ">=0.2"),
        ("ratio", -0.0, "<=0", ">=0"),
        ("day", datetime.date(2020, 2, 29), "<'2020-03-01", ">='2020-02-01"),
        ("day", datetime.date(2020, 12, 31), "<'2021-01-01", ">='2020-12-01"),
        ("day", datetime.date.max, None, ">='9999-12-01"),
        ("moment", datetime.datetime(2020, 1, 31, 23, 59, 59, 999999, UTC), "<'2020-02-01", ">='2020-01-01"),
        (
            "moment",
            datetime.datetime(2020, 1, 1, 0, 30, tzinfo=timezone.get_fixed_timezone(60)),
            "<'2020-01-01",
            ">='2019-12-01",
        ),
        ("clock", datetime.time(12, 30), "<'13", ">='12"),
        ("span", datetime.timedelta(seconds=12), "<=12000000", ">=12000000"),
        ("ratio", float("inf"), None, None),
        ("ratio", float("nan"), None, None),
        ("whole", None, None, None),
        ("short", "a", None, None),
        ("flag", True, None, None),
        ("nocase", "a", None, None),
    ],
)
def test_a_bound_is_widened_outwards(name, value, upper, lower):
    """NULL meets it, as NULL may sort first."""
    assert token(name, "<=", value) == (upper and "?" + upper)
    assert token(name, ">=", value) == (lower and "?" + lower)


def test_times_of_these_days_are_known_by_day():
    """What is new is written most."""
    day = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday, later = day - datetime.timedelta(days=1), day.replace(tzinfo=None)
    assert token("moment", ">=", yesterday.replace(hour=5)) == f"?>='{yesterday.date()}"
    assert token("moment", "<=", yesterday.replace(hour=5)) == f"?<'{later.date()}"


@pytest.mark.parametrize("name", ["whole", "amount", "ratio", "day", "moment", "clock", "span"])
def test_a_row_with_the_last_value_meets_the_bound(name):
    values = {
        "whole": [-101, -1, 0, 5, 99, 100, 101],
        "amount": [Decimal(each) / 100 for each in (-101, -1, 0, 5, 99, 100, 101)],
        "ratio": [-1e300, -0.1, 0.0, 0.1, 0.30000000000000004, 1e300],
        "day": [datetime.date(2020, month, day) for month in (1, 2, 12) for day in (1, 15, 28)],
        "moment": [datetime.datetime(2020, month, 1, tzinfo=UTC) for month in (1, 2, 12)] + [NOW],
        "clock": [datetime.time(0), datetime.time(0, 0, 0, 1), datetime.time(23, 59, 59, 999999)],
        "span": [datetime.timedelta(seconds=each) for each in (-1, 0, 0.5, 86400)],
    }[name]
    tokenize = tokenizer(field(name), connection.vendor)
    for value in values:
        for operator in ("<=", ">="):
            condition = derived_conditions.parse(token(name, operator, value))
            assert condition.is_met(tokenize(value)), (value, operator)
            assert condition.is_met("!")
