"""Different calls have different keys, regardless of the types and values of their arguments."""

import datetime
import enum
import functools
import inspect
import uuid

import pytest
from django.http import HttpResponse, QueryDict
from django.test import RequestFactory, override_settings
from hypothesis import given, settings

from cacheops_lite import cached, cached_as, cached_view
from cacheops_lite.functions.call_key import CallIdentifier, call_identity
from cacheops_lite.store.client import get_client
from tests.conftest import FLAVOURS
from tests.shop.models import Category, Product
from tests.support.arguments import CALLS, SAMPLES, canonical, family, lookalikes, merged


def func():
    pass


class Permission(enum.Flag):
    READ, WRITE, RUN = 1, 2, 4


def name(*args, extra=None, **kwargs):
    return call_identity(func, args, kwargs, extra)


def test_different_arguments_have_different_keys():
    """This applies to positional arguments, keyword arguments and `extra`, and to values that look alike."""
    values = [each for sample in SAMPLES for each in (sample, *lookalikes(sample))]
    calls = [((value,), {}) for value in values] + [((), {"a": value}) for value in values]
    names = [call_identity(func, args, kwargs, None) for args, kwargs in calls]
    assert merged(calls, names) == []
    extras = [call_identity(func, (), {}, value) for value in values]
    assert merged(values, extras) == []
    assert not set(names) & set(extras)


@settings(max_examples=100, deadline=None)
@given(CALLS)
def test_only_equal_calls_share_a_key(call):
    """Keys differ by types, also of nested values, and by the way in which arguments are passed."""
    calls = list(family(*call))
    assert merged(calls, [call_identity(func, args, kwargs, None) for args, kwargs in calls]) == []


@settings(max_examples=100, deadline=None)
@given(CALLS)
def test_only_calls_with_equal_bound_arguments_share_a_key(call):
    """Explicit defaults and keywords do not change the key; any other difference does."""

    def function(a=1, b=None, *rest, c="1", **more):
        pass

    calls, names = [], []
    for args, kwargs in [((), {}), *family(*call)]:
        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
        except TypeError:
            continue
        bound.apply_defaults()
        calls.append(dict(bound.arguments))
        names.append(CallIdentifier(function).identify(args, kwargs, None))
    assert merged(calls, names) == []


def as_view(function):
    view = cached_view(60)(lambda request, *args, **kwargs: HttpResponse(function(*args, **kwargs)))
    return lambda *args, **kwargs: view(RequestFactory().get("/"), *args, **kwargs).content.decode()


WAYS = {"cached": cached(60), "cached_as": cached_as(Product), "cached_view": as_view}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "decorate", [cached(60), cached_as(Product), as_view], ids=["cached", "cached_as", "cached_view"]
)
def test_each_call_gets_its_own_result(decorate):
    """Former calls with similar arguments do not matter."""
    computed = []

    @decorate
    def function(*args, **kwargs):
        computed.append(1)
        return canonical((args, kwargs))

    def check(calls):
        for args, kwargs in calls:
            assert function(*args, **kwargs) == canonical((args, kwargs))

    @settings(max_examples=10, deadline=None)
    @given(CALLS)
    def check_family(call):
        check(family(*call))

    with override_settings(**FLAVOURS["embedded"]):
        get_client().flushdb()
        for _ in range(2):
            before = len(computed)
            check(call for sample in SAMPLES for call in family((sample,), {"a": sample}))
        assert before == len(computed), "not all is cached"
        check_family()
        get_client().flushdb()


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
def test_similar_calls_have_different_keys(one, other):
    """Each pair has the same key in some known cache."""
    assert one() != other()


def test_equal_calls_have_the_same_key():
    """The order of keywords and of sets does not matter."""
    key = uuid.uuid4()
    assert name(a=1, b=key) == name(b=key, a=1)
    assert name({"a", "b", "c"}) == name({"c", "b", "a"})
    assert name(Product(pk=1, name="a")) == name(Product(pk=1, name="b"))


def test_a_wrapper_has_the_identity_of_the_function_that_it_wraps():
    """Functions are identified by module, name and line."""

    @functools.wraps(func)
    def wrapper():
        pass

    assert call_identity(wrapper, (), {}, None) == call_identity(func, (), {}, None)
    assert call_identity(name, (), {}, None) != call_identity(func, (), {}, None)


def test_enum_members_and_picklable_objects_may_be_arguments():
    """They are identified by their state."""

    assert name(Kind.A) != name(Kind.B)
    assert name(functools.partial(func, 1)) != name(functools.partial(func, 2))


def test_objects_that_python_counts_as_routines_are_identified_by_their_state():
    """They may have no name: Python 3.14 counts ``functools.partial`` among them."""
    assert inspect.isroutine(Descriptor(1))
    assert name(Descriptor(1)) == name(Descriptor(1))
    assert name(Descriptor(1)) != name(Descriptor(2))
    assert CallIdentifier(Descriptor(1)).identify((), {}, None) == CallIdentifier(Descriptor(1)).identify((), {}, None)
    assert CallIdentifier(Descriptor(1)).identify((), {}, None) != CallIdentifier(Descriptor(2)).identify((), {}, None)


class Descriptor:
    def __init__(self, value):
        self.value = value

    def __get__(self, instance, owner=None):
        return self.value

    def __call__(self):
        return self.value


class Kind(enum.Enum):
    A = 1
    B = 2


class Holder:
    def __init__(self, content):
        self.content = content

    def method(self):
        pass


def make_function(number):
    return lambda: number


LOOKALIKES = [
    ("a".upper, "b".upper),
    (Holder(1).method, Holder(2).method),
    (make_function(1), make_function(2)),
    (lambda: 1, lambda: 2),
    (QueryDict("a=1&a=2"), QueryDict("a=3&a=2")),
    (Product.objects.filter(sku="a", name='x" AND "y'), Product.objects.filter(sku='a AND "x"', name="y")),
    (Product.objects.values("name"), Product.objects.values_list("name")),
    (Product.objects.none(), Product.objects.all()),
    (Permission.READ | Permission.WRITE, Permission.READ | Permission.RUN),
]


@pytest.mark.parametrize(("one", "other"), LOOKALIKES)
def test_similar_arguments_have_different_keys(one, other):
    """They are identified by their contents and by the objects that they are bound to."""
    assert name(one) != name(other)
    assert name(one) == name(one)


def test_an_unsaved_instance_is_refused():
    """Two unsaved instances cannot be distinguished."""
    with pytest.raises(TypeError, match="not saved"):
        name(Product())


def test_an_argument_that_cannot_be_identified_is_refused():
    """Otherwise the call would never be a hit, or would be a wrong one."""
    with pytest.raises(TypeError, match="can't be pickled"):
        name(object.__new__(type("Odd", (), {"__reduce__": None})))
