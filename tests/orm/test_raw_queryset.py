"""``raw()`` querysets, which are cached after ``.cache()``."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from tests.conftest import counted_reads
from tests.shop.models import Category, Label, Product, Unwatched

pytestmark = pytest.mark.django_db(transaction=True)

ALL = "SELECT p.id, p.name, p.views, p.price, p.blob, p.facts FROM shop_product p ORDER BY p.name"


@pytest.fixture(autouse=True)
def shop(store):
    pens = Category.objects.create(name="pens")
    Product.objects.create(sku="a", name="a", category=pens, price="1.50", blob=b"x", facts={"a": [1]})
    Product.objects.create(sku="b", name="b", views=5)


def names(sql=ALL, params=(), **options):
    return [product.name for product in Product.objects.raw(sql, params).cache(**options)]


def test_a_raw_query_is_cached_until_its_table_is_written(queries):
    """An update by the ORM invalidates it; a write to another table does not."""
    assert names() == ["a", "b"]
    with queries() as found:
        assert names() == ["a", "b"]
    assert not found
    Product.objects.filter(name="a").update(name="c")
    assert names() == names() == ["b", "c"]
    Label.objects.create(text="other")
    with queries() as found:
        names()
    assert not found


def test_cached_instances_equal_fetched_ones():
    """They have the same types, deferred fields, annotations and state."""
    sql = "SELECT p.id, p.price, p.blob, p.facts, p.views * 2 AS twice FROM shop_product p ORDER BY p.name"

    def described(queryset):
        return [
            (each.pk, each.price, bytes(each.blob or b""), each.facts, each.twice, each.get_deferred_fields())
            for each in queryset
        ]

    expected = described(Product.objects.raw(sql))
    for _ in range(2):
        assert described(Product.objects.raw(sql).cache()) == expected
    cached = Product.objects.raw(sql).cache()[0]
    assert (cached._state.db, cached._state.adding, cached.name) == ("default", False, "a")


def test_parameters_translations_and_prefetches_work():
    """They work as in Django's raw querysets."""
    sql = "SELECT id, sku AS label FROM shop_product WHERE views >= %s ORDER BY id"
    for least, expected in ((0, ["a", "b"]), (5, ["b"]), (0, ["a", "b"])):
        found = Product.objects.raw(sql, [least], translations={"label": "sku"}).cache()
        assert [product.sku for product in found] == expected
    found = Product.objects.raw("SELECT * FROM shop_product ORDER BY id").prefetch_related("labels").cache()
    assert [list(product.labels.all()) for product in found] == [[], []]
    if connection.vendor != "sqlite":
        named = "SELECT * FROM shop_product WHERE name = %(name)s"
        assert names(named, {"name": "b"}) == names(named, {"name": "b"}) == ["b"]
        assert names(named, {"name": "a"}) == ["a"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT p.* FROM shop_product p JOIN shop_category c ON c.id = p.category_id WHERE c.name = 'pens'",
        "SELECT p.* FROM shop_product p, shop_category c WHERE c.id = p.category_id AND c.name = 'pens'",
        "SELECT * FROM shop_product WHERE category_id IN (SELECT id FROM shop_category WHERE name = 'pens')",
        "WITH c AS (SELECT id FROM shop_category WHERE name = 'pens') "
        "SELECT p.* FROM shop_product p JOIN c ON c.id = p.category_id",
        "SELECT p.* /* FROM nowhere */ FROM shop_product AS p -- FROM nothing\n"
        "LEFT OUTER JOIN shop_category AS c ON c.id = p.category_id WHERE c.name = 'pens'",
    ],
)
def test_the_tables_of_joins_subqueries_and_ctes_are_found(sql):
    """A write to the joined table invalidates the result."""
    assert names(sql) == names(sql) == ["a"]
    Category.objects.update(name="inks")
    assert names(sql) == []


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM shop_view", "the tables that the SQL reads are unknown"),
        ("SELECT p.* FROM shop_product p, somewhere s", "the tables that the SQL reads are unknown"),
        ("SELECT * FROM shop_unwatched", "no profile covers the tables shop_unwatched"),
        ("UPDATE shop_product SET name = 'x'", "SQL that may write cannot be cached"),
        ("WITH x AS (DELETE FROM shop_product RETURNING *) SELECT * FROM x", "SQL that may write cannot be cached"),
    ],
)
def test_a_query_with_unknown_or_uncached_tables_raises_improperly_configured(sql, error):
    """SQL that may write is refused as well."""
    with pytest.raises(ImproperlyConfigured, match=error):
        Product.objects.raw(sql).cache()
    with pytest.raises(ImproperlyConfigured, match="no profile"):
        Unwatched.objects.raw(ALL).cache()


def test_the_argument_tables_replaces_the_tables_found_in_the_sql():
    """It takes table names and models."""
    assert names(tables=["shop_product", Category]) == ["a", "b"]
    with counted_reads() as reads:
        names(tables=["shop_product", "shop_category"])
        Category.objects.create(name="new")
        names(tables=[Category, Product])
    assert (reads.hits, reads.misses) == (1, 1)


def test_a_raw_query_is_not_cached_in_a_transaction_that_has_written():
    """It returns the transaction's own changes."""
    assert names() == ["a", "b"]
    with transaction.atomic():
        Product.objects.filter(name="a").update(name="c")
        assert names() == ["b", "c"]
    assert names() == ["b", "c"]


def test_a_raw_query_is_cached_only_after_cache():
    """It is not cached after ``nocache()`` either."""
    with counted_reads() as reads:
        list(Product.objects.raw(ALL))
        list(Product.objects.raw(ALL).cache().nocache())
    assert reads.hits + reads.misses == 0
