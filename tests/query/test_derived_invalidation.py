"""Writes invalidate results by comparisons: those of rows that are outside, before and after, keep them."""

import datetime
from decimal import Decimal

import pytest
from django.db.models import F, Q, Sum
from django.utils import timezone

from cacheops_lite.query.compiler import compile_rows
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import describe_dependency, describe_shape, keys
from tests.conftest import counted_reads
from tests.rich.models import Item, Label, Sample
from tests.support.checks import check_keeps_or_changes

UTC = datetime.timezone.utc

pytestmark = pytest.mark.django_db(transaction=True)

samples = Sample.objects.all()


def restore():
    """Make four rows: 1 and 2 are low, 3 and 4 are high."""
    Sample.objects.nocache().all().delete()
    for pk in (1, 2, 3, 4):
        Sample.objects.create(
            pk=pk,
            whole=pk * 10,
            amount=Decimal(pk) / 4,
            ratio=pk / 2,
            day=datetime.date(2026, pk, 1),
            moment=datetime.datetime(2026, pk, 1, 12, tzinfo=UTC),
            short=["apple", "apricot", "banana", "cherry"][pk - 1],
            odd=None if pk == 1 else pk,
        )


def change(pk, **values):
    sample = Sample.objects.nocache().get(pk=pk)
    for name, value in values.items():
        setattr(sample, name, value)
    sample.save()


def create(**values):
    Sample.objects.bulk_create([Sample(**{"pk": 90, "whole": 90, "amount": 90, "ratio": 90.0, **values})])


# A read; writes that keep its result; writes that change it.
CASES = {
    "less": (
        lambda: list(samples.filter(whole__lt=25).order_by("pk")),
        [
            lambda: change(3, short="x"),
            lambda: change(3, whole=25),
            lambda: samples.filter(pk=4).update(whole=F("whole") + 1),
        ],
        [
            lambda: change(3, whole=24),
            lambda: change(1, whole=25),
            lambda: samples.filter(pk=1).delete(),
            lambda: create(whole=1),
        ],
    ),
    "at most": (
        lambda: samples.filter(whole__lte=20).count(),
        [lambda: change(3, whole=21), lambda: create(whole=21), lambda: change(4, whole=None)],
        [lambda: change(3, whole=20), lambda: change(2, whole=21), lambda: change(2, whole=None)],
    ),
    "range": (
        lambda: samples.filter(whole__range=(15, 25)).exists(),
        [lambda: change(3, whole=26), lambda: change(1, whole=14), lambda: samples.filter(pk=4).delete()],
        [lambda: change(2, whole=26)],
    ),
    "two comparisons": (
        lambda: list(samples.filter(whole__gte=15, whole__lt=25).values_list("pk", "short")),
        [lambda: change(3, short="x"), lambda: change(1, short="x")],
        [lambda: change(2, short="x"), lambda: change(1, whole=15), lambda: create(whole=16)],
    ),
    "a comparison of another column": (
        lambda: list(samples.filter(short="banana", whole__gt=20).values_list("pk", "ratio")),
        [lambda: change(2, ratio=7.0), lambda: create(short="banana", whole=20), lambda: change(1, short="banana")],
        [lambda: change(3, ratio=7.0), lambda: change(3, whole=20), lambda: create(short="banana", whole=21)],
    ),
    "decimals": (
        lambda: list(samples.filter(amount__gt=Decimal("0.5")).order_by("pk").values_list("amount")),
        [lambda: change(1, amount=Decimal("0.50")), lambda: change(2, amount=Decimal("-1"))],
        [lambda: change(1, amount=Decimal("0.51")), lambda: change(3, amount=Decimal("0.5"))],
    ),
    "floats": (
        lambda: samples.filter(ratio__lt=1.0).count(),
        [lambda: change(2, ratio=1.5), lambda: change(4, ratio=1.0)],
        [lambda: change(2, ratio=-0.0), lambda: change(1, ratio=1.0)],
    ),
    "dates": (
        lambda: list(samples.filter(day__gt=datetime.date(2026, 2, 1)).order_by("pk").values_list("pk", "day")),
        [lambda: change(1, day=datetime.date(2026, 2, 1)), lambda: change(2, day=None)],
        [lambda: change(1, day=datetime.date(2026, 2, 2)), lambda: change(3, day=datetime.date(2026, 2, 1))],
    ),
    "a year": (
        lambda: samples.filter(day__year=2026).count(),
        [lambda: create(day=datetime.date(2027, 1, 1)), lambda: create(day=datetime.date(2025, 12, 31))],
        [lambda: create(day=datetime.date(2026, 12, 31)), lambda: change(1, day=datetime.date(2025, 12, 31))],
    ),
    "datetimes": (
        lambda: samples.filter(moment__gte=datetime.datetime(2026, 2, 1, 12, tzinfo=UTC)).count(),
        [lambda: change(1, moment=datetime.datetime(2026, 1, 31, tzinfo=UTC))],
        [
            lambda: change(1, moment=datetime.datetime(2026, 2, 1, 12, tzinfo=UTC)),
            lambda: change(3, moment=datetime.datetime(2026, 2, 1, 11, 59, 59, 999999, tzinfo=UTC)),
        ],
    ),
    "the date of a datetime": (
        lambda: samples.filter(moment__date=datetime.date(2026, 2, 1)).count(),
        [lambda: change(1, moment=datetime.datetime(2026, 3, 1, tzinfo=UTC))],
        [lambda: change(1, moment=datetime.datetime(2026, 2, 1, 23, tzinfo=UTC)), lambda: change(2, moment=None)],
    ),
    "not equal": (
        lambda: list(samples.exclude(odd=3).order_by("pk").values_list("pk", "ratio")),
        [lambda: change(3, ratio=5.0), lambda: create(odd=3)],
        [lambda: change(1, ratio=5.0), lambda: change(3, odd=None), lambda: change(4, odd=3), lambda: create(odd=None)],
    ),
    "not less": (
        lambda: samples.filter(~Q(odd__lt=3)).count(),
        [lambda: create(odd=2), lambda: change(2, odd=1)],
        [lambda: create(odd=None), lambda: create(odd=3), lambda: change(3, odd=2), lambda: change(1, odd=2)],
    ),
    "not among": (
        lambda: samples.exclude(whole__in=[10, 20]).count(),
        [lambda: create(whole=20), lambda: change(1, whole=20)],
        [lambda: change(3, whole=20), lambda: create(whole=30)],
    ),
    "not NULL": (
        lambda: samples.filter(odd__isnull=False).count(),
        [lambda: create(odd=None)],
        [lambda: create(odd=0), lambda: change(1, odd=0), lambda: change(2, odd=None)],
    ),
    "beginnings": (
        lambda: list(samples.filter(short__startswith="ap").order_by("pk").values_list("short")),
        [lambda: change(3, short="b"), lambda: create(short="cap")],
        [lambda: change(3, short="ap"), lambda: change(1, short="p"), lambda: create(short="apes")],
    ),
    "parts": (
        lambda: samples.filter(short__icontains="AN").count(),
        [lambda: change(1, short="k"), lambda: create(short="xyz")],
        [lambda: change(1, short="wAn"), lambda: change(3, short="b")],
    ),
    "ends": (
        lambda: samples.filter(short__endswith="rry").count(),
        [lambda: change(1, short="k"), lambda: create(short="xyz")],
        [lambda: change(1, short="berry"), lambda: change(4, short="b")],
    ),
    "either of two": (
        lambda: samples.filter(Q(whole__lt=15) | Q(ratio__gt=1.9)).count(),
        [lambda: change(2, whole=15), lambda: create(ratio=0.0)],
        [lambda: change(2, whole=14), lambda: change(2, ratio=1.95), lambda: create(whole=1)],
    ),
    "aggregates": (
        lambda: samples.filter(whole__gt=25).aggregate(n=Sum("whole")),
        [lambda: change(1, whole=12), lambda: create(whole=25)],
        [lambda: change(3, whole=31), lambda: create(whole=26)],
    ),
}


def check(name, write, keeps):
    check_keeps_or_changes(CASES[name][0], restore, write, keeps)


@pytest.mark.parametrize("name", CASES)
def test_writes_of_rows_outside_of_a_condition_keep_its_results(name, store):
    """The row is outside before and after the write."""
    for write in CASES[name][1]:
        with timezone.override(UTC):
            check(name, write, keeps=True)


@pytest.mark.parametrize("name", CASES)
def test_writes_of_rows_that_a_condition_finds_change_its_results(name, store):
    """Before the write, or after it."""
    for write in CASES[name][2]:
        with timezone.override(UTC):
            check(name, write, keeps=False)


def test_equal_fingerprints_with_other_values_have_their_own_dependencies(store):
    """A plan makes the names of derived conditions from the values, as it makes tokens."""
    restore()
    for bound in (15, 25, 35):
        assert samples.filter(whole__lt=bound).count() == bound // 10
    change(2, whole=24)
    with counted_reads() as counted:
        assert samples.filter(whole__lt=15).count() == 1
        assert not counted.misses
        assert samples.filter(whole__lt=25).count() == 2
        assert samples.filter(whole__lt=35).count() == 3
    assert counted.misses == 2


def test_a_bound_that_moves_has_few_shapes(store):
    """A page that asks for what is newer than now, less a day, registers a shape each hour."""
    restore()
    now = datetime.datetime.now(UTC)
    found = set()
    for minutes in range(0, 180, 5):
        since = now - datetime.timedelta(days=1, minutes=minutes)
        (dependency,) = compile_rows(samples.filter(moment__gt=since)).dependencies
        found.add(dependency)
    assert 3 <= len(found) <= 4


def test_a_row_that_was_missing_may_change_a_result_without_meeting_a_condition(store):
    """With an outer join, NULL in its place met the condition."""
    item = Item.objects.create(title="a", fallback=None)

    def read():
        return Item.objects.exclude(label__text="a").count()

    assert read() == 1
    Label.objects.create(item=item, text="a")
    assert read() == 0
    Label.objects.update(text="b")
    assert read() == 1


def test_explain_says_derived_conditions_in_words(store):
    """With the widened constants, as the keys of Redis have them."""
    report = samples.filter(whole__gte=1234, fresh=3).exclude(odd=3).explain_cache()
    (words,) = [each for each in map(str, report.dependencies) if Sample._meta.db_table in each]
    assert "whole >= 1200" in words
    assert "odd col: a=b&c,é != 3 or is NULL" in words
    assert "= ?" not in words


def test_words_of_keys_and_of_dependencies_are_the_same():
    conditions = (("a b", "x"), ("price", "<100"), ("price", "?!=1;2"), ("name", "^~ab%20c"), ("odd", "!=!"))
    name = keys.name_dependency(Dependency("t", tuple(sorted(conditions)), None)).dependency
    assert describe_dependency(name) == (
        "t: rows where a b = x and name begins with ab c, in any case and odd is not NULL"
        " and price < 100 and price != 1 or 2 or is NULL"
    )
    assert describe_shape(name) == (
        "t: rows where a b = ? and name begins with ?, in any case and odd is not NULL"
        " and price < ? and price != ? or is NULL"
    )
