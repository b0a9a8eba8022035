"""Calls that differ have different names, whatever their arguments."""

import datetime
import decimal
import enum
import functools
import uuid

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.calls import call_name
from tests.shop.models import Category, Product


def func():
    pass


class Right(enum.Flag):
    READ, WRITE, RUN = 1, 2, 4


def name(*args, extra=None, **kwargs):
    return call_name(func, args, kwargs, extra)


ARGUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.builds(lambda pk: Product(pk=pk), st.integers(1, 3))
    | st.builds(lambda pk: f"shop.Product.{pk}", st.integers(1, 3)),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)


def same(one, other):
    """Equal and of equal types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        found = {(type(k), k): v for k, v in one.items()}
        wanted = {(type(k), k): v for k, v in other.items()}
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in found)
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other


@given(ARGUMENTS, ARGUMENTS)
def test_two_calls_share_a_name_only_if_they_are_the_same(one, other):
    """Types are told apart, also deep within."""
    assert (name(one) == name(other)) == same(one, other)


PAIRS = [
    (lambda: name(1), lambda: name("1")),
    (lambda: name(1), lambda: name(True)),
    (lambda: name(1), lambda: name(1.0)),
    (lambda: name(b"a"), lambda: name("a")),
    (lambda: name(a="x&b=2"), lambda: name(a="x", b="2")),
    (lambda: name(Category(pk=1)), lambda: name("shop.Category.1")),
    (lambda: name(Category(pk=1)), lambda: name(Product(pk=1))),
    (lambda: name([1]), lambda: name((1,))),
    (lambda: name({1, 2}), lambda: name([1, 2])),
    (lambda: name(("a", 1)), lambda: name(a=1)),
    (lambda: name(2**63), lambda: name(2**63 + 1)),
    (lambda: name(1, extra=1), lambda: name(1, extra="1")),
    (lambda: name(str), lambda: name(int)),
    (lambda: name(datetime.date(2026, 1, 1)), lambda: name(datetime.datetime(2026, 1, 1))),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_calls_that_look_alike_are_told_apart(one, other):
    """Each pair met in some cache or other."""
    assert one() != other()


def test_the_same_call_has_the_same_name():
    """Order of keywords and of sets does not matter."""
    key = uuid.uuid4()
    assert name(a=1, b=key) == name(b=key, a=1)
    assert name({"a", "b", "c"}) == name({"c", "b", "a"})
    assert name(Product(pk=1, name="a")) == name(Product(pk=1, name="b"))


def test_functions_are_told_apart_through_wrappers():
    """By module, name and line."""

    @functools.wraps(func)
    def wrapper():
        pass

    assert call_name(wrapper, (), {}, None) == call_name(func, (), {}, None)
    assert call_name(same, (), {}, None) != call_name(func, (), {}, None)


def test_enum_members_and_picklable_objects_are_arguments():
    """Anything whose state tells it from others."""

    assert name(Kind.A) != name(Kind.B)
    assert name(functools.partial(func, 1)) != name(functools.partial(func, 2))


class Kind(enum.Enum):
    A = 1
    B = 2


class Holder:
    def __init__(self, held):
        self.held = held

    def method(self):
        pass


def made(number):
    return lambda: number


LOOKALIKES = [
    ("a".upper, "b".upper),
    (Holder(1).method, Holder(2).method),
    (made(1), made(2)),
    (lambda: 1, lambda: 2),
    (QueryDict("a=1&a=2"), QueryDict("a=3&a=2")),
    (Product.objects.filter(sku="a", name='x" AND "y'), Product.objects.filter(sku='a AND "x"', name="y")),
    (Product.objects.values("name"), Product.objects.values_list("name")),
    (Product.objects.none(), Product.objects.all()),
    (Right.READ | Right.WRITE, Right.READ | Right.RUN),
]


@pytest.mark.parametrize(("one", "other"), LOOKALIKES)
def test_arguments_that_look_alike_are_told_apart(one, other):
    """By what they hold and what they are bound to."""
    assert name(one) != name(other)
    assert name(one) == name(one)


def test_an_unsaved_instance_is_refused():
    """It can't be told from another unsaved one."""
    with pytest.raises(TypeError, match="not saved"):
        name(Product())


def test_what_can_not_be_told_from_others_is_refused():
    """Instead of never or, worse, wrongly hitting."""
    with pytest.raises(TypeError, match="can't be told from others"):
        name(object.__new__(type("Odd", (), {"__reduce__": None})))
