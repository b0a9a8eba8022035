"""Values that the database treats as equal are invalidated together, in whichever form they are written and read."""

import datetime
import itertools
import uuid
from decimal import Decimal

import pytest
from django.db import connection

from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.rich.models import Item, Mark, Sample, Secret
from tests.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=5))
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = uuid.UUID(int=2**127 + 1)


class MisleadingStr(str):
    """Has a `__str__` that differs from the stored value."""

    def __str__(self):
        return "something else"


# Spellings of one value, and other values.
SPELLINGS = {
    "whole": ([1, "1", True, 1.0, Decimal(1), Item.Level.LOW, "01", " 1"], [2, -1, 10]),
    "big": ([2**53 + 1, str(2**53 + 1), Decimal(2**53 + 1)], [2**53, 2**53 + 2, -(2**53) - 1, 2**63 - 1]),
    "amount": ([Decimal("2.5"), Decimal("2.50"), "2.500", 2.5, Decimal("25E-1")], [Decimal("2.51"), -2.5, 25]),
    "long_amount": (
        [Decimal("123456789012345.1"), Decimal("123456789012345.1000000000"), "123456789012345.10"],
        [Decimal("123456789012345.1000000001"), Decimal("123456789012345")],
    ),
    "ratio": ([0.0, -0.0, 0, "0", "-0.0", False], [1e-300, 1, 1e300]),
    "flag": ([True, 1, "1", "True", "t"], [False, 0, "f"]),
    "day": ([datetime.date(2026, 1, 1), "2026-01-01", NOON], [datetime.date(2026, 1, 2)]),
    "moment": (
        [NOON, NOON.astimezone(EAST), "2026-01-01T12:00Z", "2026-01-01 17:00:00+05:00"],
        [NOON.replace(tzinfo=EAST), NOON.replace(microsecond=1)],
    ),
    "clock": ([datetime.time(1, 2, 3), "01:02:03", "01:02:03.000"], [datetime.time(1, 2, 3, 4)]),
    "span": ([datetime.timedelta(1), datetime.timedelta(hours=24)], [datetime.timedelta(0, 1)]),
    "token": ([ID, str(ID), ID.hex, ID.int, f"{{{ID}}}", ID.urn, str(ID).upper()], [uuid.UUID(int=1), 1]),
    "short": (
        ["x", MisleadingStr("x"), *(["X", "x ", "X  "] if connection.vendor == "mysql" else [])],
        [1, "y", "x\t"],
    ),
    "nocase": (["x", "X", *(["x "] if connection.vendor == "mysql" else [])], ["y", "xx"]),
    "secret": (["ab", Secret("ab")], ["ba", "abc"]),
    "fresh": ([7, "7", 7.0], [5, 70]),
    "double": ([14, "14"], [7]),
}
if connection.vendor == "sqlite":
    # Stored as doubles, its decimals are read and compared with no more digits than these have.
    SPELLINGS["long_amount"] = [Decimal("12345.1"), Decimal("12345.10"), "12345.100"], [Decimal("12345.2"), 12345]
# The columns from which generated columns are computed.
WRITTEN = {"double": ("whole", lambda value: int(value) // 2)}


def reads_by(field, value):
    """Return reads of rows by a value."""
    rows = Sample.objects.filter(**{field: value})
    return [
        lambda: sorted(rows.all().values_list("pk", flat=True)),
        lambda: Sample.objects.filter(item__isnull=True, **{f"{field}__in": [value]}).exists(),
        lambda: Sample.objects.exclude(**{field: value}).count(),
    ]


def written_by(field, value):
    name, convert = WRITTEN.get(field, (field, lambda value: value))
    return {name: convert(value)}


def save(row, **values):
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


WAYS = {
    "save": lambda row, **values: save(Sample.objects.nocache().get(pk=row.pk), **values),
    "update": lambda row, **values: Sample.objects.filter(pk=row.pk).update(**values),
    "bulk_create": lambda row, **values: Sample.objects.bulk_create([Sample(text="new", **values)]),
}


@pytest.mark.parametrize("field", SPELLINGS)
def test_equal_values_invalidate_reads_by_every_spelling(store, field):
    """Each spelling is written and read, and then other values are written."""
    same, others = SPELLINGS[field]
    reads = [read for value in [*same, *others] for read in reads_by(field, value)]
    for way, value in itertools.product(WAYS, [*same, others[0], same[-1], *others]):
        row = Sample.objects.create()
        cached = [read() for read in reads]
        WAYS[way](row, **written_by(field, value))
        cached = [read() for read in reads]
        assert cached == uncached(lambda: [read() for read in reads]), (way, repr(value))
        row.delete()


@pytest.mark.parametrize("field", SPELLINGS)
def test_each_spelling_finds_rows_written_in_another_spelling(store, field):
    """Without this the test above would find nothing; values that no spelling finds leave the reads cached."""
    same, others = SPELLINGS[field]
    row = Sample.objects.create(**written_by(field, same[0]))
    counts = [lambda value=value: Sample.objects.filter(**{field: value}).count() for value in same]
    assert [count() for count in counts] == [1] * len(same)
    Sample.objects.filter(pk=row.pk).update(**written_by(field, others[0]))
    assert [count() for count in counts] == [0] * len(same)
    if field in ("nocase", "double") or (field == "long_amount" and connection.vendor == "sqlite"):
        return
    with counted_reads() as counted:
        Sample.objects.create(**written_by(field, others[-1]))
        assert [count() for count in counts] == [0] * len(same)
    if not (field == "short" and connection.vendor == "mysql"):
        assert not counted.misses


WORDS = ["a", "A", "a ", "é", "É", "e", "b", ""]


def test_a_column_of_a_case_insensitive_type_is_invalidated(store):
    """citext on PostgreSQL: the field declares it, and no collation does."""
    by_word = [lambda word=word: list(Mark.objects.filter(word=word).values_list("pk", flat=True)) for word in WORDS]
    mark = Mark.objects.create(code="m-1")
    for word in [*WORDS, *reversed(WORDS)]:
        [read() for read in by_word]
        save(mark, word=word)
        assert [read() for read in by_word] == uncached(lambda: [read() for read in by_word]), word
    Mark.objects.update(word="A")
    assert by_word[0]() == by_word[1]() == ["m-1"]
    for word in WORDS:
        [read() for read in by_word]
        Mark.objects.filter(word="A").update(word=word)
        assert [read() for read in by_word] == uncached(lambda: [read() for read in by_word]), word
        Mark.objects.update(word="A")


def test_reads_by_values_outside_the_range_of_a_column_have_no_plan_of_others(store):
    """Queries of one fingerprint: the plan for a value in the range does not apply to one outside it."""
    Sample.objects.create(whole=1)
    for value in (1, 2**70, 1, -(2**70), 2):
        reads = [
            lambda value=value: Sample.objects.filter(whole=value).count(),
            lambda value=value: list(Sample.objects.filter(whole=value).values_list("whole")),
            lambda value=value: Sample.objects.filter(whole=value, item=None).exists(),
            lambda value=value: Product.objects.filter(pk=value).first(),
        ]
        for _ in range(2):
            assert [read() for read in reads] == uncached(lambda reads=reads: [read() for read in reads]), value
