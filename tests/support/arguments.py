"""Arguments of calls that are easily confused, and a canonical text that distinguishes them reliably."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import uuid
from collections import OrderedDict
from contextlib import suppress

from django.utils.safestring import mark_safe
from hypothesis import strategies as st

from cacheops_lite.functions.call_key import identity_of
from tests.shop.models import Category, Product, VisibleProduct


class Size(enum.Enum):
    SMALL = 1
    LARGE = "SMALL"


class OtherSize(enum.Enum):
    SMALL = 1


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Word(str, enum.Enum):
    SMALL = "1"


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.sampled_from(
        [1, 1.0, True, "1", b"1", decimal.Decimal(1), decimal.Decimal("1.0"), 0, 0.0, -0.0, False, "", b""]
    )
    | st.text(st.sampled_from("a1'\"&=,:()[]{}#\\ \0\n"), max_size=6)
    | st.text(max_size=3)
    | st.sampled_from(["a=1", "x&b=2", "None", "True", "[1]", "(1,)", "{'a': 1}", "'1'", "b'1'", "nan"])
    | st.binary(max_size=3)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(datetime.timezone.utc))
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.fractions()
)
OBJECTS = (
    st.sampled_from([*Size, *OtherSize, *Number, *Word, Size, Number, int, str, Product, Category])
    | st.builds(lambda model, pk: model(pk=pk), st.sampled_from([Product, Category, VisibleProduct]), st.integers(1, 2))
    | st.builds(lambda pk: Product(pk=pk), st.sampled_from(["1", True, decimal.Decimal(1)]))
    | st.builds("{}.{}".format, st.sampled_from(["shop.Product", "shop.product", "Product"]), st.integers(1, 2))
    | st.builds(mark_safe, st.sampled_from(["1", "a=1"]))
)
HASHABLE = st.none() | st.booleans() | st.integers(-2, 2) | st.text("a1", max_size=2) | st.binary(max_size=1)
ARGUMENTS = st.recursive(
    PLAIN | OBJECTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=2)
        | st.dictionaries(HASHABLE, inner, max_size=2).map(OrderedDict)
        | st.sets(HASHABLE, max_size=2)
        | st.frozensets(HASHABLE, max_size=2)
    ),
    max_leaves=4,
)
# One value of each kind, for tests that do not depend on random values.
SAMPLES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        0.0,
        -0.0,
        1.0,
        float("nan"),
        float("inf"),
        1j,
        "",
        "1",
        "a",
        "'",
        b"",
        b"1",
        "None",
    ),
    *(
        2**53,
        2**53 + 1,
        2**64,
        2**64 + 1,
        -(2**63),
        decimal.Decimal("1.0"),
        decimal.Decimal("1.00"),
        fractions.Fraction(1),
    ),
    *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), datetime.time(), datetime.timedelta(1)),
    *((), [], {}, set(), frozenset(), (1,), [1], {1}, {"a": 1}, {1: "a"}, {True: "a"}, {None: {"a": [1, (2,)]}}),
    *(*Size, *OtherSize, *Number, *Word, Size, int, uuid.UUID(int=1), mark_safe("1"), OrderedDict(a=1), "x&b=2", "a=1"),
    *(Product(pk=1), Product(pk="1"), VisibleProduct(pk=1), Category(pk=1), "shop.product.1"),
]
NAMES = ["a", "b", "c"]
CALLS = st.tuples(st.lists(ARGUMENTS, max_size=3).map(tuple), st.dictionaries(st.sampled_from(NAMES), ARGUMENTS))


def canonical(value):
    """Return a text that is equal for equal values of equal types, including nested values, and for no others."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (list, tuple)):
        return f"{kind}<{'; '.join(map(canonical, value))}>"
    if isinstance(value, dict):
        return f"{kind}<{'; '.join(sorted(f'{canonical(key)}: {canonical(item)}' for key, item in value.items()))}>"
    if isinstance(value, (set, frozenset)):
        return f"{kind}<{'; '.join(sorted(map(canonical, value)))}>"
    if isinstance(value, (Product, Category)):
        return f"{kind}<{canonical(value.pk)}>"
    if isinstance(value, enum.Enum):
        return f"{kind}<{value.name}>"
    return f"{kind}<{value!r}>"


def family(args, kwargs):
    """Yield (args, kwargs) of this call and of calls that differ from it only slightly."""
    yield from _passed_otherwise(args, kwargs)
    for at, value in enumerate(args):
        for other in lookalikes(value):
            yield (*args[:at], other, *args[at + 1 :]), kwargs
    for name, value in kwargs.items():
        for other in lookalikes(value):
            yield args, {**kwargs, name: other}


def merged(calls, names):
    """Return pairs of different calls that share a name, and pairs of equal calls with different names."""
    by_name, by_call, found = {}, {}, []
    for call, name in zip(calls, names, strict=True):
        text = canonical(call)
        for one, other in ((by_name.setdefault(name, text), text), (by_call.setdefault(text, name), name)):
            if one != other:
                found.append((one, other))
    return found


def _passed_otherwise(args, kwargs):
    yield args, kwargs
    yield args, dict(reversed(kwargs.items()))
    yield (args,), kwargs
    yield (list(args),), kwargs
    yield (*args, kwargs), {}
    yield (*args, *kwargs.items()), {}
    yield (*args, *kwargs.values()), {}
    yield (*args, None), kwargs
    yield args[:-1], kwargs
    yield args[::-1], kwargs
    yield args, {name: value for name, value in kwargs.items() if name != "a"}
    yield (), {**kwargs, **dict(zip(NAMES, args, strict=False))}
    yield (), {"a": "&".join(f"{name}={value}" for name, value in kwargs.items())}


def lookalikes(value):
    """Yield values that could be confused with `value`, including `value` itself."""
    yield from (value, [value], (value,), {"a": value}, {value.__class__.__name__: value}, type(value))
    yield from (str(value), repr(value), repr(identity_of(value)), identity_of(value), str(value).encode())
    for kind in (int, float, bool, complex, decimal.Decimal, fractions.Fraction, list, tuple, set, OrderedDict):
        with suppress(Exception):
            yield kind(value)
    for way in (
        lambda: value + 1,
        lambda: -value,
        lambda: value.decode(),
        lambda: list(value.items()),
        lambda: value.pk,
        lambda: type(value)(pk=str(value.pk)),
        lambda: f"{value._meta.label}.{value.pk}",
        lambda: f"{value._meta.label_lower}.{value.pk}",
        lambda: value.name,
        lambda: value.value,
        lambda: value.isoformat(),
        lambda: datetime.datetime.combine(value, datetime.time()),
        lambda: value.replace(tzinfo=datetime.timezone.utc),
        lambda: value.replace(fold=1),
        lambda: value.hex,
        lambda: value.normalize(),
        lambda: value.decode("latin1"),
        lambda: {str(key): item for key, item in value.items()},
        lambda: frozenset(value),
    ):
        with suppress(Exception):
            found = way()
            identity_of(found)
            yield found
