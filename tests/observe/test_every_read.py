"""No read goes by unexplained: each statement that reads has a decision that says why the database was asked."""

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.models import Count, Max, Prefetch
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from cacheops_lite.observe import Outcome, activity
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


async def _iterated(queryset):
    return [each async for each in queryset]


READS = {
    "fetch": lambda: list(Product.objects.all()),
    "filtered": lambda: list(Product.objects.filter(sku="a")),
    "joined": lambda: list(Product.objects.select_related("category")),
    "prefetched": lambda: [list(each.products.all()) for each in Category.objects.prefetch_related("products")],
    "prefetched by a queryset": lambda: list(
        Category.objects.prefetch_related(Prefetch("products", Product.objects.filter(sku="a"), to_attr="found"))
    ),
    "values": lambda: list(Product.objects.values("sku")),
    "slice": lambda: list(Product.objects.order_by("sku")[:1]),
    "get": lambda: Product.objects.get(sku="a"),
    "get of nothing": lambda: Product.objects.filter(sku="none").first(),
    "get by two conditions": lambda: Product.objects.get(sku="a", category__name="pens"),
    "foreign key": lambda: Product(category_id=Category.objects.get(name="pens").pk).category.name,
    "reverse": lambda: list(Category.objects.get(name="pens").products.all()),
    "first": lambda: Product.objects.order_by("sku").first(),
    "last": lambda: Product.objects.order_by("sku").last(),
    "latest": lambda: Product.objects.latest("pk"),
    "in_bulk": lambda: Product.objects.in_bulk(),
    "count": lambda: Product.objects.count(),
    "exists": lambda: Product.objects.exists(),
    "contains": lambda: Product.objects.contains(Product(pk=1)),
    "aggregate": lambda: Product.objects.aggregate(n=Count("id"), top=Max("sku")),
    "annotated": lambda: list(Category.objects.annotate(n=Count("products"))),
    "union": lambda: list(Product.objects.filter(sku="a").union(Product.objects.filter(sku="b"))),
    "iterator": lambda: list(Product.objects.iterator()),
    "raw": lambda: list(Product.objects.raw("SELECT * FROM shop_product")),
    "random": lambda: list(Product.objects.order_by("?")),
    "async fetch": lambda: async_to_sync(_iterated)(Product.objects.all()),
    "async get": lambda: async_to_sync(Product.objects.aget)(sku="a"),
    "async count": lambda: async_to_sync(Product.objects.acount)(),
}
WAYS = {
    "cached": {},
    "no profile": {"CACHEOPS": {}},
    "one operation": {"CACHEOPS": {"shop.*": {"ops": "count", "timeout": 60}}},
    "one model": {"CACHEOPS": {"shop.product": {"ops": "all", "timeout": 60}}},
    "disabled": {"CACHEOPS_ENABLED": False},
}


@pytest.fixture(autouse=True)
def rows(store):
    pens = Category.objects.create(name="pens")
    for sku in ("a", "b"):
        Product.objects.create(sku=sku, category=pens)


def check(name):
    with activity.collect() as work, CaptureQueriesContext(connection) as captured:
        READS[name]()
    statements = [each["sql"] for each in captured.captured_queries if each["sql"].lstrip("( ").startswith("SELECT")]
    asked = [each for each in work.decisions if each.outcome is not Outcome.HIT]
    assert len(asked) == len(statements), ([(each.operation, each.reason) for each in work.decisions], statements)
    assert all(each.caller for each in work.decisions)
    # The stack of a thread that a coroutine waits for does not show the coroutine.
    assert name.startswith("async") or all(__file__ in each.caller for each in work.decisions)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READS)
def test_each_statement_that_reads_has_a_decision(name, way):
    """The first time and the second, when it may be a hit."""
    with override_settings(**WAYS[way]):
        check(name)
        check(name)


@pytest.mark.parametrize("name", sorted(READS.keys() - {"async fetch", "async get", "async count"}))
def test_each_statement_has_a_decision_after_a_write_of_the_transaction(name):
    with transaction.atomic():
        Label.objects.create(text="a")
        check(name)
