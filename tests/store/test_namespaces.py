"""CACHEOPS_PREFIX: projects, hosts and tenants share one Redis without sharing results or missing invalidations."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheops_lite import cache, cached, cached_as, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.functions.filesystem_cache import FileCache
from tests.conftest import counted_reads
from tests.shop.models import Category, Customer, Label, Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])

ALL = ["default", "replica", "other"]


def prefix_by_path(query):
    return "by-path:"


@pytest.fixture
def prefix_queries(store):
    """Collect the queries that the prefix function gets; it puts all keys under ``asked:``."""
    queries = []

    def prefix(query):
        queries.append(query)
        return "asked:"

    with override_settings(CACHEOPS_PREFIX=prefix):
        yield queries


def keys_of(client):
    return {key.decode() for key in client.scan_iter()}


def is_cached_until(write, read):
    """Return whether `read` is a hit the second time and a miss after `write`."""
    first = read()
    assert read() == first
    write()
    return read() != first


def rename(product, **options):
    product.name += "x"
    product.save(**options)


def test_every_key_begins_with_the_prefix(prefix_queries, store):
    """This includes values, versions, table versions, indexes, conjunction sets, locks and the simple cache."""
    pen = Product.objects.create(sku="pen", name="pen")
    assert is_cached_until(lambda: rename(pen), lambda: Product.objects.get(pk=pen.pk).name)
    list(Product.objects.cache(lock=True))
    cached_as(Product)(lambda: 1)()
    cached(timeout=10)(lambda: 1)()
    cache.set("key", 1, 10)
    with transaction.atomic():
        rename(pen)
    assert keys_of(store)
    assert all(key.startswith("asked:cacheops:") for key in keys_of(store))


def test_the_prefix_function_may_be_a_dotted_path(store):
    with override_settings(CACHEOPS_PREFIX=f"{__name__}.prefix_by_path"):
        cache.set("key", 1, 10)
        Product.objects.count()
    assert all(key.startswith("by-path:") for key in keys_of(store))


@pytest.mark.parametrize("prefix", ["shop", "shop:", "my-shop.example.com:", "v1.2", "1.x", "shop.", "é:"])
def test_the_prefix_may_be_a_plain_text(store, prefix):
    """All keys begin with it, and writes invalidate under it."""
    with override_settings(CACHEOPS_PREFIX=prefix):
        assert is_cached_until(lambda: Label.objects.create(text="new"), lambda: Label.objects.count())
        cache.set("key", 1, 10)
        assert all(key.startswith(f"{prefix}cacheops:") for key in keys_of(store))
        assert any("cacheops:s:" in key for key in keys_of(store))


def test_a_mistyped_path_is_told_from_a_plain_text(store):
    """The error says how to write a text that looks like a path."""
    for path in ("myproject.cache.prefix", f"{__name__}.no_such_function", "example.com"):
        refused = pytest.raises(ImproperlyConfigured, match=f"CACHEOPS_PREFIX .*'{path}': .*write '{path}:'")
        with override_settings(CACHEOPS_PREFIX=path), refused:
            Product.objects.count()


def test_a_plain_text_that_looks_like_a_key_is_refused(store):
    refused = pytest.raises(ImproperlyConfigured, match=r"CACHEOPS_PREFIX is 'xcacheops:v:'; .* a cache key")
    with override_settings(CACHEOPS_PREFIX="xcacheops:v:"), refused:
        Product.objects.count()


@pytest.mark.parametrize("value", ["no.such.path", "tests.store.test_namespaces.ALL", 1, ["x"]])
def test_a_prefix_that_is_neither_text_nor_function_is_refused(store, value):
    """The error names the setting."""
    with override_settings(CACHEOPS_PREFIX=value), pytest.raises(ImproperlyConfigured, match="CACHEOPS_PREFIX"):
        Product.objects.count()


@pytest.mark.parametrize("value", [None, 1, b"x", "xcacheops:v:"])
def test_a_prefix_function_that_does_not_return_plain_text_is_refused(store, value):
    """The error names the setting."""
    returned = pytest.raises(ImproperlyConfigured, match="CACHEOPS_PREFIX returned")
    with override_settings(CACHEOPS_PREFIX=lambda query: value), returned:
        cache.set("key", 1)


def test_the_prefix_function_gets_databases_and_tables(prefix_queries):
    """For a read it gets all tables of the query at once, for a write each table by itself."""
    list(Product.objects.filter(category__name="pens"))
    whole = prefix_queries[0]
    assert (whole.func, whole.dbs, whole.db) == (None, ["default"], "default")
    assert whole.tables == ["shop_category", "shop_product"]
    with pytest.raises(ImproperlyConfigured, match="shop_category, shop_product"):
        _ = whole.table
    prefix_queries.clear()
    Label.objects.create(text="new")
    assert {query.table for query in prefix_queries} == {"shop_label"}
    assert {query.db for query in prefix_queries} == set(ALL)


def test_the_prefix_function_gets_the_decorated_function(prefix_queries):
    """The simple cache has neither databases nor tables."""

    def func():
        return 1

    cached_as(Label)(func)()
    assert [(query.func, query.tables) for query in prefix_queries if query.func] == [(func, ["shop_label"])]
    prefix_queries.clear()
    cached(timeout=10)(func)()
    assert {(query.func, tuple(query.dbs), tuple(query.tables)) for query in prefix_queries} == {(func, (), ())}
    with pytest.raises(ImproperlyConfigured, match="none"):
        _ = prefix_queries[0].db


def test_a_prefix_by_tables_misses_no_invalidation(store):
    """A join has another prefix than its tables, and is invalidated with each of them."""
    with override_settings(CACHEOPS_PREFIX=lambda query: "+".join(query.tables) + ":"):
        pens = Category.objects.create(name="pens")
        pen = Product.objects.create(sku="pen", name="pen", category=pens)
        ann = Customer.objects.create(name="ann", city="Rome")

        def joined():
            return list(Product.objects.filter(name__startswith="pen").values_list("name", "category__name"))

        def rows_by_dependency():
            return [each.category.name for each in Product.objects.select_related("category")]

        def rename_category():
            pens.name += "x"
            pens.save()

        assert is_cached_until(lambda: rename(pen), joined)
        assert is_cached_until(rename_category, joined)
        assert is_cached_until(rename_category, rows_by_dependency)
        assert is_cached_until(lambda: Product.objects.update(name="penny"), joined)
        assert is_cached_until(lambda: Customer.objects.filter(pk=ann.pk).update(city="Bari"), of(Customer, "city"))
        ann.name = "bea"
        assert is_cached_until(ann.save, of(Customer, "name"))
        func = cached_as(Product, Category)(joined)
        assert is_cached_until(rename_category, func)


def of(model, name):
    return lambda: list(model.objects.values_list(name))


def test_a_prefix_by_database_misses_no_invalidation(store):
    """Rows written by one alias may be read by another alias of the same database."""
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{query.db}:" if query.dbs else ""):
        pen = Product.objects.create(sku="pen", name="pen")
        read = lambda: Product.objects.using("replica").get(pk=pen.pk).name
        assert is_cached_until(lambda: rename(pen), read)
        assert is_cached_until(lambda: Product.objects.invalidated_update(name="penny"), read)
        assert is_cached_until(pen.delete, lambda: Product.objects.using("replica").count())


def test_tenants_share_no_results(store, tmp_path):
    """Each tenant reads its own results, and its writes do not invalidate those of other tenants."""
    tenant = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{tenant[0]}."):
        calls = []
        functions = [
            cached_as(Label)(lambda: calls.append(1) or len(calls)),
            cached(timeout=10)(lambda: calls.append(1) or len(calls)),
            FileCache(tmp_path).cached(timeout=10)(lambda: calls.append(1) or len(calls)),
        ]
        found = {}
        for tenant[0] in "ab":
            found[tenant[0]] = [func() for func in functions]
            cache.set("key", tenant[0], 10)
        assert found["a"] == [1, 2, 3]
        assert found["b"] == [4, 5, 6]
        Label.objects.create(text="of b")
        for tenant[0] in "ab":
            assert cache.get("key") == tenant[0]
            assert [func() for func in functions[1:]] == found[tenant[0]][1:]
        tenant[0] = "a"
        assert functions[0]() == 1
        tenant[0] = "b"
        assert functions[0]() == 7
        for func in functions[1:]:
            func.invalidate()
            assert func() > 7


def test_a_write_uses_the_prefix_of_the_moment_of_the_write(store):
    """It does not use that of the commit, which may happen when another host is served."""
    tenant = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda query: tenant[0]):
        read = lambda: Label.objects.count()
        assert read() == 0
        with transaction.atomic():
            Label.objects.create(text="new")
            tenant[0] = "b"
        tenant[0] = "a"
        assert read() == 1


def test_invalidate_all_deletes_the_keys_of_all_prefixes_and_no_other_keys(store):
    """It deletes prefixes by table and the simple cache, and keeps the keys of other projects."""
    others = {"cacheops:v:x", "other:cacheops:t:{shop_label}", "shop_label", "mine:", "mine:x", "min?:cacheops:v:x"}
    for key in others:
        store.set(key, 1)
    with override_settings(CACHEOPS_PREFIX=lambda query: "mine:" + "".join(query.tables)):
        Label.objects.count()
        cache.set("key", 1, 10)
        invalidate_all()
    assert keys_of(store) == others


def test_manual_invalidation_uses_the_prefix(store):
    """This applies to `invalidate_obj`, `invalidate_model` and `invalidate_all`."""
    label = Label.objects.create(text="new")
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{query.tables}"):
        calls = []
        func = cached_as(Label)(lambda: calls.append(1) or len(calls))
        assert is_cached_until(lambda: invalidate_obj(label), func)
        assert is_cached_until(lambda: invalidate_model(Label), func)
        assert is_cached_until(invalidate_all, func)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("*?[]\\^-%{}|&=:@\n\0 ", max_size=8)
)
def test_a_prefix_may_contain_special_characters(store, prefix):
    """With any text, results are cached, invalidated and cleared, and similar keys of others are kept."""
    near = [f"{prefix}xcacheops:v:1", f"x{prefix}cacheops:v:1", prefix + "cacheops", "a" + prefix[1:] + "bcacheops:v:1"]
    with override_settings(CACHEOPS_PREFIX=lambda query: prefix):
        for key in near:
            store.set(key, 1)
        label = Label.objects.create(text="new")
        assert is_cached_until(lambda: Label.objects.update(text="old"), of(Label, "text"))
        label.refresh_from_db()
        label.text = "saved"
        assert is_cached_until(label.save, of(Label, "text"))
        category = Category.objects.create(name="pens")
        Product.objects.create(sku="pen", category=category)
        category.name = "quills"
        rows_by_dependency = lambda: [each.category.name for each in Product.objects.select_related("category")]
        assert is_cached_until(category.save, rows_by_dependency)
        Product.objects.all().delete()
        cache.set("key", 1, 10)
        assert cache.get("key") == 1
        label.delete()
        invalidate_all()
        assert keys_of(store) == set(near)
        store.delete(*near)


READS = {
    "fetch": lambda: [each.text for each in Label.objects.order_by("pk")],
    "join": lambda: list(Product.objects.values_list("sku", "category__name")),
    "count": lambda: Label.objects.count(),
    "get": lambda: Label.objects.get(text="x").text,
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("near", [False, True])
def test_the_same_query_shares_no_results_between_prefixes(store, name, near):
    """Its plan and what is derived from it are shared."""
    tenant = ["a"]
    profiles = {"shop.*": {"ops": "all", "timeout": 60, "near": near}}
    found = []
    with override_settings(CACHEOPS=profiles, CACHEOPS_PREFIX=lambda query: tenant[0]):
        Label.objects.create(text="x")
        for each in "abab":
            tenant[0] = each
            with counted_reads() as reads:
                READS[name]()
            found.append((reads.hits, reads.misses))
    assert found == [(0, 1), (0, 1), (1, 0), (1, 0)]
