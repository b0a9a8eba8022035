"""Tokens of derived conditions: which there are, how far constants are widened, and how they are evaluated."""

import datetime
import random
from decimal import Decimal

import pytest
from django.db.models import CharField, DateTimeField, DecimalField, FloatField, IntegerField

from cacheops_lite.schema import derived_conditions
from cacheops_lite.schema.derived_tokens import derived_token
from tests.rich.models import Item, Sample

UTC = datetime.timezone.utc
NOW = datetime.datetime.now(UTC)


def field(name):
    return Sample._meta.get_field(name)


@pytest.mark.parametrize(
    ("name", "operator", "value", "token"),
    [
        ("whole", "<", 99, "<99"),
        ("whole", "<", 1234, "<1300"),
        ("whole", "<=", 1300, "<=1300"),
        ("whole", ">", 1234, ">1200"),
        ("whole", ">", -1234, ">-1300"),
        ("whole", "<", -1234, "<-1200"),
        ("whole", ">=", 0, ">=0"),
        ("amount", "<", Decimal("19.99"), "<20"),
        ("amount", "<", Decimal("1.10"), "<1.1"),
        ("amount", "<", Decimal("0.015"), "<=0.02"),
        ("amount", ">", Decimal("0.015"), ">=0.01"),
        ("ratio", "<", 0.1, "<0.1"),
        ("ratio", ">", 1.5e300, ">1.5E+300"),
        ("day", "<=", datetime.date(2026, 1, 31), "<'2026-02-01"),
        ("day", ">", datetime.date(2026, 1, 31), ">='2026-02-01"),
        ("clock", ">", datetime.time(5, 30), ">='05"),
        ("clock", "<", datetime.time(23, 30), "<'24"),
        ("moment", ">", datetime.datetime(1999, 5, 5, 7, 5, tzinfo=UTC), ">='1999-05-05T07"),
        ("moment", "<", datetime.datetime(1999, 12, 31, 23, 5, tzinfo=UTC), "<'2000-01-01"),
        ("moment", "<", datetime.datetime(1999, 12, 1, tzinfo=UTC), "<'1999-12-01"),
        ("moment", "<=", datetime.datetime(1999, 12, 1, tzinfo=UTC), "<'1999-12-01T01"),
        ("span", ">", datetime.timedelta(seconds=1), ">1000000"),
        ("short", "i*", "a library of words", "*~a%20librar"),
        ("short", "i$", "a library of words", "$~of%20words"),
        ("short", ">=", "abcdefghij", '>="abcdefgh'),
        ("whole", "!=", 5, "!=5"),
    ],
)
def test_constants_are_widened(name, operator, value, token):
    assert derived_token(field(name), "sqlite", operator, [value]) == token
    assert derived_token(field(name), "sqlite", operator, [value], meets_null=True) == "?" + token


@pytest.mark.parametrize(
    ("name", "vendor", "operator", "value"),
    [
        ("whole", "sqlite", "<", 1.5),
        ("whole", "sqlite", "<", 2**31),
        ("whole", "sqlite", "<", True),
        ("whole", "sqlite", "!=", 1.5),
        ("ratio", "postgresql", "<", float("inf")),
        ("ratio", "postgresql", "!=", float("nan")),
        ("amount", "postgresql", "!=", Decimal("1.005")),
        ("long_amount", "mysql", "<", Decimal(1)),
        ("long_amount", "mysql", "!=", Decimal(1)),
        ("day", "sqlite", "<=", datetime.date(9999, 12, 31)),
        ("moment", "sqlite", "<", datetime.date(2026, 1, 1)),
        ("moment", "sqlite", "<", datetime.datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
        ("short", "sqlite", "<", "abcdefghij"),
        ("short", "postgresql", "<", "a"),
        ("short", "mysql", "<", "a"),
        ("short", "mysql", "!=", "a"),
        ("short", "sqlite", "*", "é"),
        ("short", "sqlite", "*", "a\0b"),
        ("short", "mysql", "*", "a_b"),
        ("short", "postgresql", "i*", "ß"),
        ("short", "postgresql", "*", ""),
        ("short", "postgresql", "*", 5),
        ("text", "sqlite", "*", "a"),
        ("blob", "sqlite", "!=", b"a"),
        ("flag", "sqlite", "<", True),
        ("whole", "other", "<", None),
    ],
)
def test_conditions_that_are_not_certain_have_no_token(name, vendor, operator, value):
    """They count as any row."""
    assert derived_token(field(name), vendor, operator, [value]) is None


def test_only_a_few_values_are_told_apart_by_inequality():
    assert derived_token(field("whole"), "sqlite", "!=", [3, 1, 3]) == "!=1;3"
    assert derived_token(field("whole"), "sqlite", "!=", range(8)) is not None
    assert derived_token(field("whole"), "sqlite", "!=", range(9)) is None
    assert derived_token(field("whole"), "sqlite", "!=", []) is None


def compares(operator, one, other):
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[operator]


@pytest.mark.parametrize("name", ["whole", "amount", "ratio", "span", "moment", "day", "clock"])
def test_a_value_that_meets_a_comparison_meets_it_after_widening(name):
    """For values close to the constant, and constants close to those of the grid."""
    rng = random.Random(name)
    make, step = {
        "whole": (lambda: rng.choice([0, 9, 99, 100, 120, 99999]) + rng.randrange(-3, 4), 1),
        "amount": (
            lambda: Decimal(rng.choice([0, 10, 100, 99999]) * 100 + rng.randrange(-300, 300)) / 100,
            Decimal("0.01"),
        ),
        "ratio": (
            lambda: rng.choice([0.1, 1.2, 99.0, 1e10, -1e-5]) * rng.choice([1, 1 + 2e-16, 1 - 1e-16, 0.3]),
            1e-16,
        ),
        "span": (lambda: datetime.timedelta(microseconds=rng.randrange(-(10**8), 10**8)), datetime.timedelta(0, 0, 1)),
        "moment": (
            lambda: rng.choice([NOW, NOW - datetime.timedelta(100), datetime.datetime(2020, 2, 1, tzinfo=UTC)]).replace(
                minute=rng.choice([0, 1, 59]), second=0, microsecond=rng.choice([0, 1])
            ),
            datetime.timedelta(0, 0, 1),
        ),
        "day": (lambda: datetime.date(2026, 1, 1) + datetime.timedelta(rng.randrange(99)), datetime.timedelta(1)),
        "clock": (lambda: datetime.time(rng.randrange(24), rng.choice([0, 59]), 0, rng.choice([0, 1])), None),
    }[name]
    from cacheops_lite.schema import columns

    met = 0
    for _ in range(3000):
        operator, constant = rng.choice(["<", "<=", ">", ">="]), make()
        value = make() if step is None or rng.random() < 0.5 else constant + step * rng.choice([-1, 0, 1])
        token = derived_token(field(name), "postgresql", operator, [constant])
        stored = columns.token(field(name), "postgresql", value)
        if compares(operator, value, constant):
            met += 1
            assert derived_conditions.parse(token).is_met(stored), (operator, constant, value)
    assert met > 1000


def test_every_token_can_be_parsed_and_is_no_name_of_a_column():
    for name, operator, value in [
        ("whole", "<", 5),
        ("short", "*", "<&|,=?"),
        ("short", "$", "!;#%"),
        ("odd", "!=", -5),
    ]:
        token = derived_token(field(name), "postgresql", operator, [value])
        assert derived_conditions.parse(token) is not None
        assert derived_conditions.split_name(f"a%20b{token}") == ("a%20b", token)
        assert not set(token) & set("&|,={}") - set("=" if operator == "!=" else "")


def test_values_of_application_classes_may_raise_anything():
    """The condition then counts as any row."""

    class Odd(str):
        def isascii(self):
            raise RuntimeError

    assert derived_token(Item._meta.get_field("title"), "sqlite", "*", [Odd("a")]) is None


@pytest.mark.parametrize("kind", [CharField, IntegerField, FloatField, DateTimeField, DecimalField])
def test_fields_that_store_in_their_own_way_make_no_conditions(kind):
    class Own(kind):
        def get_db_prep_value(self, value, connection, prepared=False):
            return value

    assert derived_token(Own(), "sqlite", "<", [1]) is None
