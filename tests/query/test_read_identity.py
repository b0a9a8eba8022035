"""Queries with equal SQL and different results have different keys; third-party SQL contributes to the dependencies."""

import time
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import (
    CharField,
    Count,
    DateTimeField,
    DecimalField,
    Expression,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    IntegerField,
    Lookup,
    Max,
    Q,
    Sum,
    TextField,
    Value,
)
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast, ExtractHour, Lower, Random, TruncDate
from django.test import override_settings
from django.utils import timezone, translation

from cacheops_lite.query import hydrator
from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.shop import fields
from tests.shop.models import Caption, Category, Folder, Label, Product, Ticket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def annotated(expression):
    return lambda: list(Product.objects.annotate(x=expression).order_by("pk").values_list("x", flat=True))


class Scaled(Sum):
    """Multiplies the result in `convert_value`."""

    def __init__(self, *args, factor=1, **options):
        self.factor = factor
        super().__init__(*args, **options)

    @property
    def convert_value(self):
        return lambda value, expression, connection: value * self.factor


class Shown(Func):
    template = "%(expressions)s"

    def __init__(self, *args, unit="m", **options):
        self.unit = unit
        super().__init__(*args, **options)

    def convert_value(self, value, expression, connection):
        return f"{value} {self.unit}"


def by_hour(zone):
    def read():
        with timezone.override(zone):
            return annotated(ExtractHour("added"))(), Product.objects.aggregate(x=Max(TruncDate("added")))

    return read


def quotient(divisor):
    expression = Func("views", template="(%(expressions)s / %(d)s)", d=divisor, output_field=FloatField())
    return annotated(expression)


LABELLED = Product.objects.filter(labels__text="a")
ALIKE = {
    "decimals": [annotated(Cast("price", DecimalField(max_digits=9, decimal_places=n))) for n in (0, 1, 2)],
    "texts": [annotated(Cast("name", CharField(max_length=n))) for n in (1, 2)],
    "sums": [
        lambda n=n: Product.objects.aggregate(x=Sum(Cast("price", DecimalField(max_digits=9, decimal_places=n))))
        for n in (0, 1)
    ],
    "fields": [annotated(ExpressionWrapper(F("views"), output_field=fields.UnitField(unit))) for unit in ("m", "ft")],
    "expressions": [annotated(Shown("views", unit=unit)) for unit in ("m", "ft")],
    "aggregates": [lambda n=n: Product.objects.aggregate(x=Scaled("views", factor=n)) for n in (1, 10)],
    "dates": [lambda kind=kind: list(Product.objects.dates("added", kind)) for kind in ("year", "month", "day")],
    "values beside a flag": [
        lambda value=value: list(
            Product.objects.filter(visible=True).annotate(x=Value(value)).values_list("x", flat=True)
        )
        for value in "ab"
    ],
    "counts beside a flag": [
        lambda n=n: Product.objects.filter(visible=True).aggregate(x=Count("pk", filter=Q(views=n))) for n in (1, 7)
    ],
    "values beside one that is told twice": [
        lambda value=value: list(
            Product.objects.filter(views__in=[7, 7]).annotate(x=F("views") + value).values_list("x", flat=True)
        )
        for value in (1, 2)
    ],
    "numbers": [quotient(2), quotient(2.0)],
    "joins": [
        lambda: list(LABELLED.filter(labels__text="b").annotate(x=Lower("labels__text")).values_list("x", flat=True)),
        lambda: list(LABELLED.annotate(x=Lower("labels__text")).filter(labels__text="b").values_list("x", flat=True)),
    ],
    # MariaDB may lack the time zone tables.
    "zones": [by_hour(zone) for zone in ("UTC", timezone.get_fixed_timezone(540))],
}


@pytest.mark.parametrize("reads", ALIKE.values(), ids=ALIKE)
def test_queries_that_look_alike_have_different_results(reads):
    """Query plans distinguish them as well."""
    if reads is ALIKE["zones"] and connection.vendor == "postgresql":
        reads = [by_hour(zone) for zone in ("UTC", "Asia/Tokyo")]
    product = Product.objects.create(sku="a", name="abc", views=7, price=Decimal("1.25"), added=timezone.now())
    product.labels.set([Label.objects.create(text=text) for text in "ab"])
    # A change of a setting clears the plans.
    truths = [uncached(read) for read in reads]
    for _ in range(3):
        assert [read() for read in reads] == truths


def test_a_union_ordered_by_a_column_that_is_not_selected_returns_the_selected_columns(is_hit):
    """Compiling the query adds a column to it, which must not happen twice."""
    for n in range(4):
        Product.objects.create(sku=str(n), name=f"n{n}", views=n)
    low = Product.objects.filter(views__lt=2).annotate(x=F("views") * 2)
    high = Product.objects.filter(views__gte=2).annotate(x=F("views"))

    def read():
        return list(low.union(high).order_by("x", "name").values_list("name"))

    with override_settings(CACHEOPS_ENABLED=False):
        expected = read()
    assert read() == expected
    assert is_hit(read)
    assert read() == expected


def test_equal_third_party_expressions_share_a_result(is_hit):
    Product.objects.create(sku="a", name="abc")

    def read():
        shown = Shown(Value(1, output_field=IntegerField()), unit="m", output_field=CharField(max_length=9))
        return annotated(shown)()

    assert read() == ["1 m"]
    assert is_hit(read)


class NameLength(Expression):
    output_field = IntegerField()

    def as_sql(self, compiler, connection):
        return "LENGTH(shop_product.name)", []


class InLong(Lookup):
    """Reads a table that Django does not see in the query."""

    lookup_name = "in_long"
    prepare_rhs = False

    def as_sql(self, compiler, connection):
        left, params = self.process_lhs(compiler, connection)
        return f"{left} IN (SELECT category_id FROM shop_product WHERE LENGTH(name) > %s)", [*params, self.rhs]


def template_of(template):
    return Func(F("id"), template=template, output_field=IntegerField())


HIDDEN = {
    "a column": annotated(template_of("LENGTH(name)")),
    "a column of an expression": annotated(NameLength()),
    "a column of a function": annotated(Func("views", function="LENGTH(name) + ABS", output_field=IntegerField())),
    "a column that joins": annotated(
        Func("views", "views", function="ABS", arg_joiner=" + LENGTH(name) + ", output_field=IntegerField())
    ),
    "a column that connects": annotated(
        CombinedExpression(F("views"), "+ LENGTH(name) +", F("views"), output_field=IntegerField())
    ),
    "an order": lambda: list(Product.objects.order_by(template_of("LENGTH(name)"), "pk").values_list("pk")),
    "an aggregate": lambda: Product.objects.aggregate(x=Sum(template_of("LENGTH(name)"))),
    "a table": lambda: list(
        Category.objects.annotate(
            x=template_of("(SELECT MAX(LENGTH(name)) FROM shop_product p WHERE p.category_id = %(expressions)s)")
        ).values_list("x", flat=True)
    ),
    **{
        f"a table, spelt {name}": lambda text=text: list(
            Category.objects.annotate(x=template_of(f"(SELECT COUNT(*) FROM {text})")).values_list("x", flat=True)
        )
        for name, text in {
            "in a list": "shop_label l, shop_product p",
            "in brackets": "(SELECT 1 AS one FROM shop_product) p",
            "in further brackets": "shop_category c JOIN (shop_product p JOIN shop_category o ON 1 = 1) ON 1 = 1",
            "behind a comment": "/* all */ shop_product",
            "without a blank": "/**/shop_product",
        }.items()
    },
    "a table of an aggregate": lambda: Category.objects.aggregate(
        x=Max(template_of("(SELECT MAX(LENGTH(name)) FROM shop_product p)"))
    ),
    "a table of a lookup": lambda: list(Category.objects.filter(pk__in_long=3).values_list("pk", flat=True)),
}


@pytest.mark.parametrize("read", HIDDEN.values(), ids=HIDDEN)
def test_columns_and_tables_in_third_party_sql_are_dependencies(read):
    """Their names stand in SQL text that Django does not parse."""
    key = Category._meta.pk
    key.register_lookup(InLong)
    try:
        category = Category.objects.create(name="c")
        first, other = (Product.objects.create(sku=sku, name=sku, category=category) for sku in ("a", "bb"))
        for name in ("abcd", "abcdef", "x"):
            read()
            assert read() == uncached(read)
            first.name = name
            first.save(update_fields=["name"])
            assert read() == uncached(read)
        other.delete()
        assert read() == uncached(read)
    finally:
        key._unregister_lookup(InLong)


def test_third_party_sql_that_reads_a_table_without_profile_is_not_cached(caplog):
    """Writes to a table without a profile are not tracked."""
    text = "(SELECT COUNT(*) FROM shop_unwatched)"
    with caplog.at_level("INFO", "cacheops_lite"), counted_reads() as reads:
        annotated(template_of(text))()
    assert not reads.hits + reads.misses
    assert "shop.Unwatched" in caplog.text


def test_a_join_on_the_active_language_has_a_result_per_language():
    """The language is a parameter of the join and stands in no condition."""
    folder = Folder.objects.create(path="a")
    Caption.objects.create(folder=folder, language="en", text="Hello")
    Caption.objects.create(folder=folder, language="de")
    for _ in range(3):
        for language, found in (("en", []), ("de", [folder.pk])):
            with translation.override(language):
                assert list(Folder.objects.filter(caption__text=None).values_list("pk", flat=True)) == found


def test_a_join_on_an_sql_expression_is_invalidated():
    """The relation compares expressions and has no join columns."""
    above = Folder.objects.create(path="a")
    below = Folder.objects.create(path="a/b")
    reads = [
        lambda: sorted(Folder.objects.filter(above__path="a").values_list("path", flat=True)),
        lambda: sorted(Folder.objects.values_list("path", "above__path")),
    ]
    for path in ("b", "a"):
        for read in reads:
            assert read() == read() == uncached(read)
        above.path = path
        above.save()
        assert [read() for read in reads] == uncached(lambda: [read() for read in reads])
    below.delete()
    assert [read() for read in reads] == uncached(lambda: [read() for read in reads])


CLOCKS = {
    "sqlite": [
        Func(template="hex(randomblob(16))", output_field=TextField()),
        Func(Value("%Y-%m-%d %H:%M:%f"), Value("now"), function="strftime", output_field=TextField()),
        Func(function="julianday", output_field=FloatField()),
    ],
    "postgresql": [
        Cast(Value("now"), DateTimeField()),
        Cast(Cast(Value(" NOW "), DateTimeField()), TextField()),
    ],
    "mysql": [
        Func(function="UUID_SHORT", output_field=TextField()),
    ],
}


def test_time_and_random_functions_are_not_cached():
    """This includes functions that return the time because of a parameter."""
    Product.objects.create(sku="a", name="a")
    for expression in CLOCKS[connection.vendor]:
        before = annotated(expression)()
        time.sleep(0.01)
        assert annotated(expression)() != before


def test_a_bulk_write_to_randomly_chosen_rows_is_invalidated():
    """The write may choose other rows than the before-image read found, even if the number of rows is equal."""
    Product.objects.bulk_create([Product(sku=str(n), name="n", views=0) for n in range(8)])
    chosen = Product.objects.filter(pk__in=Product.objects.order_by(Random()).values("pk")[:1])
    if connection.vendor == "mysql":
        # MariaDB and MySQL do not support LIMIT in this subquery.
        chosen = Product.objects.annotate(chance=Random()).filter(chance__gt=0.8)
    reads = [
        lambda pk=pk: list(Product.objects.filter(pk=pk).values_list("views"))
        for pk in Product.objects.nocache().values_list("pk", flat=True)
    ]
    dice = Func(template="RAND()" if connection.vendor == "mysql" else "ABS(RANDOM())", output_field=FloatField())
    by_dice = Product.objects.filter(views__lt=dice * 2)
    if connection.vendor == "sqlite":
        # RANDOM() returns a large integer on SQLite.
        by_dice = Product.objects.filter(views=Func(template="ABS(RANDOM() %% 2)", output_field=IntegerField()))
    for write in (
        lambda: by_dice.update(views=F("views") + 1),
        lambda: chosen.update(views=1),
        lambda: chosen.delete(),
        lambda: chosen._raw_delete("default"),
    ):
        for _ in range(4):
            for read in reads:
                read()
            write()
            assert [read() for read in reads] == uncached(lambda: [read() for read in reads])


def test_a_metaclass_that_overrides_call_is_called_on_a_hit(monkeypatch):
    monkeypatch.setattr(type(Ticket), "__call__", called, raising=False)
    hydrator._fast_model.cache_clear()
    try:
        Ticket.objects.create(subject="x")
        for _ in range(2):
            assert [each.was_called for each in Ticket.objects.all()] == [True]
    finally:
        monkeypatch.undo()
        hydrator._fast_model.cache_clear()


def called(cls, *args, **kwargs):
    instance = type.__call__(cls, *args, **kwargs)
    instance.was_called = True
    return instance
