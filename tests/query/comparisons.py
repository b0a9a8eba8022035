"""Values and conditions for fields of every kind, and what rows meet of a query's dependencies."""

import datetime
import decimal
import itertools
import random
import uuid
from decimal import Decimal

from django.core.exceptions import EmptyResultSet, ValidationError
from django.db import Error, connection, transaction
from django.db.models import Q

from cacheops_lite.query.compiler import compile_rows
from cacheops_lite.store import dependency_shapes, keys
from cacheops_lite.writes.row_images import Image, instance_values, tables_of
from cacheops_lite.writes.row_locks import read_rows, uncached
from tests.rich.models import Sample
from tests.support import services

UTC = datetime.timezone.utc
NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))
NOW = datetime.datetime.now(UTC)
ID1, ID2 = uuid.UUID(int=1), uuid.UUID(int=2**127)
LONG, HASHED = "long " * 20, "xy" * 35

WHOLE = [-100, -12, -1, 0, 1, 2, 3, 5, 99, 100, 101, 119, 120, 121, 2**31 - 1, -(2**31)]
AMOUNTS = [
    "0",
    "-0.01",
    "0.01",
    "0.02",
    "1",
    "1.00",
    "1.01",
    "1.10",
    "2.5",
    "99.99",
    "100",
    "119.99",
    "120",
    "-120.5",
    "999999.99",
]
FLOATS = [0.0, -0.0, 0.1, 0.5, 1.0, 0.123, 0.1 + 0.2, 1e300, -1e300, 5e-324, 119.0, 120.0]
NOT_FINITE = [float("inf"), float("-inf"), float("nan")] if services.DATABASE == "postgresql" else []
DAYS = [datetime.date(*each) for each in [(1, 1, 1), (999, 12, 31), (2025, 12, 31), (2026, 1, 1), (2026, 1, 2)]]
DAYS += [datetime.date(2026, 2, 28), datetime.date(2026, 3, 1), datetime.date(9999, 12, 31)]
MOMENTS = [
    datetime.datetime(1000, 1, 2, tzinfo=UTC),
    datetime.datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime.datetime(2026, 1, 1, tzinfo=UTC),
    datetime.datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime.datetime(2025, 12, 31, 19, tzinfo=NEW_YORK),
    datetime.datetime(2026, 1, 1, 4, tzinfo=NEW_YORK),
    datetime.datetime(2026, 2, 28, 12, 30, 15, tzinfo=UTC),
    datetime.datetime(9998, 12, 31, 23, 30, tzinfo=UTC),
    *(NOW + datetime.timedelta(hours=hours) for hours in (-30, -2, -1, 0, 1, 30)),
    NOW.replace(minute=0, second=0, microsecond=0),
]
CLOCKS = [datetime.time(*each) for each in [(0,), (5,), (5, 0, 0, 1), (5, 30), (12,), (23, 59, 59, 999999)]]
SPANS = [datetime.timedelta(*each) for each in [(0,), (0, 0, 1), (0, 1), (-1,), (0, 86399), (1,), (30,), (31, 5)]]
TEXTS = ["", "a", "A", "b", "ab", "aB", "abc", "a ", " a", "a%b", "a_b", "50%", "a\\b", "é", "É", "aé", "ß", "ss", "SS"]
TEXTS += [
    "Django",
    "django rocks",
    "abcdefghij",
    "abcdefghik",
    "z",
    "\u0131",
    "I",
    "i",
    "ch",
    "ij",
    "a=b&c|d,e",
    "it's",
    LONG,
]
TEXTS += ["chess", "banana", "shell", "yes", "\U0001f600", "a\tb"]

# Stored values of each field.
STORED = {
    "whole": WHOLE,
    "big": [*WHOLE, 2**53 + 1, 2**63 - 1, -(2**63)],
    "amount": [Decimal(each) for each in AMOUNTS],
    "long_amount": [Decimal(each) for each in ["0", "1", "1.0000000001", "-1.5", "123456789012345.0000000001"]],
    "ratio": FLOATS + NOT_FINITE,
    "flag": [True, False],
    "day": DAYS,
    "moment": MOMENTS,
    "clock": CLOCKS,
    "span": SPANS,
    "token": [ID1, ID2],
    "text": TEXTS,
    "short": [*(each for each in TEXTS if len(each) <= 80), HASHED],
    "nocase": [each for each in TEXTS if len(each) <= 20],
    "secret": ["ab", "ba", "abc", None],
    "odd": WHOLE,
    "fresh": WHOLE,
}
# Constants that are not stored.
CONSTANTS = {
    "whole": [10**30, -(10**30), 1.5, 2**31, 2**40, 4],
    "big": [10**30, -(10**30), 2**62],
    "amount": [Decimal(each) for each in ("1.005", "1.015", "-1.005", "0.009", "0.015", "-0.015", "12", "99.994")]
    + [3, "1.10", 0.1, 1.25],
    "long_amount": [Decimal("1.00000000005"), Decimal("123456789012345"), 0.1],
    "ratio": [float("inf"), -1e-300, 2, Decimal("0.1")],
    "day": [datetime.date(2026, 1, 31)],
    "moment": [datetime.datetime(2026, 1, 1, 0, 30, tzinfo=UTC), datetime.datetime(2026, 1, 15, tzinfo=UTC)],
    "clock": [datetime.time(5, 15), datetime.time(23)],
    "span": [datetime.timedelta(hours=12), datetime.timedelta(days=365)],
    "text": ["x", "a" * 300, "%", "_", "\\", "abcdefgh", "DJANGO", "go rocks", "a\0b"],
    "short": ["%", "_", "ABCDEFGHI", "rocks", "a" * 81, "a\0b", "y", "yy", "nan"],
    "nocase": ["DJANGO", "ROCKS", "a%"],
    "fresh": [4],
}
ORDERS = ["lt", "lte", "gt", "gte"]
PATTERNS = ["contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iexact", "regex"]
TEXT_FIELDS = ["text", "short", "nocase", "secret"]


def rows():
    """Return values for rows that have each stored value, and NULL, in several combinations."""
    nullable = {name for name in STORED if Sample._meta.get_field(name).null}
    columns = {name: [*values, None] if name in nullable else values for name, values in STORED.items()}
    rng = random.Random(1)
    for _ in range(2):
        shuffled = {name: rng.sample(values, len(values)) for name, values in columns.items()}
        for i in range(max(map(len, columns.values()))):
            yield {name: values[i % len(values)] for name, values in shuffled.items()}


def store_rows():
    """Store them; return the images of the instances that were saved, by primary key."""
    images = {}
    for values in rows():
        sample = Sample(**values)
        try:
            with transaction.atomic():
                sample.save()
        except (Error, decimal.InvalidOperation):
            # The database does not accept a value.
            continue
        images[sample.pk] = image_of(instance_values(sample))
    return images


def image_of(values):
    return Image(tables_of(Sample)[0], values, connection.vendor)


def stored_images():
    """Return the images of all rows as they are read before a write, by primary key."""
    attnames = [field.attname for field in Sample._meta.concrete_fields]
    return {
        values["id"]: image_of(values)
        for values in read_rows(uncached(Sample, "default").all(), attnames)
        if "id" in values
    }


def conditions_of(name):
    """Return conditions on one field."""
    constants = [each for each in [*STORED[name], *CONSTANTS.get(name, ())] if each is not None]
    found = [Q(**{f"{name}__isnull": True}), Q(**{f"{name}__isnull": False})]
    found += [Q(**{name: each}) for each in constants]
    found += [Q(**{f"{name}__{order}": constants[-1]}) | Q(**{name: None}) for order in ORDERS]
    found += [Q(**{f"{name}__{order}": each}) for order in ORDERS for each in constants]
    pairs = list(itertools.combinations(constants, 2))[::7]
    found += [Q(**{f"{name}__range": pair}) for pair in pairs] + [Q(**{f"{name}__in": pair}) for pair in pairs]
    if name in TEXT_FIELDS:
        found += [Q(**{f"{name}__{pattern}": each}) for pattern in PATTERNS for each in constants if each]
    if name in ("day", "moment"):
        found += [
            Q(**{f"{name}__year{suffix}": year})
            for suffix in ("", "__lt", "__lte", "__gt", "__gte")
            for year in (2, 999, 2025, 2026, 9998, NOW.year)
        ]
    if name == "moment":
        found += [
            Q(**{f"moment__date{suffix}": day})
            for suffix in ("", "__lt", "__lte", "__gt", "__gte")
            for day in [*DAYS, NOW.date()]
        ]
        found += [Q(moment__date__range=pair) for pair in itertools.combinations(DAYS, 2)]
    return found


def keys_found(condition):
    """Return the keys of the rows that the database finds, None if it can't compare the values."""
    try:
        with transaction.atomic():
            return set(Sample.objects.nocache().filter(condition).values_list("pk", flat=True))
    except (Error, decimal.InvalidOperation, ValidationError, ValueError, TypeError, OverflowError):
        return None


def dependencies_of(condition):
    """Return the dependencies of the query for rows that meet a condition; none if it finds nothing in any state."""
    try:
        return compile_rows(Sample.objects.filter(condition)).dependencies
    except EmptyResultSet:
        return set()


def is_met(dependency, image):
    """Return whether a row with this image meets a dependency: None if the image does not tell."""
    named = keys.name_dependency(dependency)
    found = dependency_shapes.parse(named.shape.encode()).dependency_of(image)
    return None if found is None else f"{named.table}:{found}" == named.dependency
