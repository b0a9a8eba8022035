"""CACHEOPS_PREFIX: projects, hosts and tenants that share one Redis, without sharing results or missing writes."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheops_lite import cache, cached, cached_as, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.functions.filesystem_cache import FileCache
from tests.shop.models import Category, Customer, Label, Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])

ALL = ["default", "replica", "other"]


def prefix_of_a_path(query):
    return "by-path:"


@pytest.fixture
def asked(store):
    """What the prefix function was asked, with all keys under ``asked:``."""
    queries = []

    def prefix(query):
        queries.append(query)
        return "asked:"

    with override_settings(CACHEOPS_PREFIX=prefix):
        yield queries


def keys_of(client):
    return {key.decode() for key in client.scan_iter()}


def is_kept_until(write, read):
    """`read` comes from the cache the second time, and anew after `write`."""
    first = read()
    assert read() == first
    write()
    return read() != first


def rename(product, **options):
    product.name += "x"
    product.save(**options)


def test_every_key_begins_with_the_prefix(asked, store):
    """Values, table versions, dependency indexes, versions, sets, locks and the simple cache's."""
    pen = Product.objects.create(sku="pen", name="pen")
    assert is_kept_until(lambda: rename(pen), lambda: Product.objects.get(pk=pen.pk).name)
    list(Product.objects.cache(lock=True))
    cached_as(Product)(lambda: 1)()
    cached(timeout=10)(lambda: 1)()
    cache.set("key", 1, 10)
    with transaction.atomic():
        rename(pen)
    assert keys_of(store)
    assert all(key.startswith("asked:cacheops:") for key in keys_of(store))


def test_a_dotted_path_names_the_function(store):
    """As a setting in a file would."""
    with override_settings(CACHEOPS_PREFIX=f"{__name__}.prefix_of_a_path"):
        cache.set("key", 1, 10)
        Product.objects.count()
    assert all(key.startswith("by-path:") for key in keys_of(store))


@pytest.mark.parametrize("value", ["no.such.path", "shop:", 1, ["x"]])
def test_what_is_no_function_is_refused(store, value):
    """The error names the setting."""
    with override_settings(CACHEOPS_PREFIX=value), pytest.raises(ImproperlyConfigured, match="CACHEOPS_PREFIX"):
        Product.objects.count()


@pytest.mark.parametrize("value", [None, 1, b"x", "xcacheops:v:"])
def test_what_a_function_returns_should_be_plain_text(store, value):
    """The error names the setting."""
    returned = pytest.raises(ImproperlyConfigured, match="CACHEOPS_PREFIX returned")
    with override_settings(CACHEOPS_PREFIX=lambda query: value), returned:
        cache.set("key", 1)


def test_a_query_tells_its_databases_and_tables(asked):
    """Of a read all that it rests on, of a write each table by itself."""
    list(Product.objects.filter(category__name="pens"))
    whole = asked[0]
    assert (whole.func, whole.dbs, whole.db) == (None, ["default"], "default")
    assert whole.tables == ["shop_category", "shop_product"]
    with pytest.raises(ImproperlyConfigured, match="shop_category, shop_product"):
        _ = whole.table
    asked.clear()
    Label.objects.create(text="new")
    assert {query.table for query in asked} == {"shop_label"}
    assert {query.db for query in asked} == set(ALL)


def test_a_query_tells_the_function(asked):
    """For decorated functions; the simple cache knows neither databases nor tables."""

    def func():
        return 1

    cached_as(Label)(func)()
    assert [(query.func, query.tables) for query in asked if query.func] == [(func, ["shop_label"])]
    asked.clear()
    cached(timeout=10)(func)()
    assert {(query.func, tuple(query.dbs), tuple(query.tables)) for query in asked} == {(func, (), ())}
    with pytest.raises(ImproperlyConfigured, match="none"):
        _ = asked[0].db


def test_a_prefix_by_tables_misses_no_write(store):
    """A join lies elsewhere than its tables do, and still falls with each of them."""
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

        assert is_kept_until(lambda: rename(pen), joined)
        assert is_kept_until(rename_category, joined)
        assert is_kept_until(rename_category, rows_by_dependency)
        assert is_kept_until(lambda: Product.objects.update(name="penny"), joined)
        assert is_kept_until(lambda: Customer.objects.filter(pk=ann.pk).update(city="Bari"), of(Customer, "city"))
        ann.name = "bea"
        assert is_kept_until(ann.save, of(Customer, "name"))
        func = cached_as(Product, Category)(joined)
        assert is_kept_until(rename_category, func)


def of(model, name):
    return lambda: list(model.objects.values_list(name))


def test_a_prefix_by_database_misses_no_write(store):
    """What is written by one alias may be read by way of another."""
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{query.db}:" if query.dbs else ""):
        pen = Product.objects.create(sku="pen", name="pen")
        read = lambda: Product.objects.using("replica").get(pk=pen.pk).name
        assert is_kept_until(lambda: rename(pen), read)
        assert is_kept_until(lambda: Product.objects.invalidated_update(name="penny"), read)
        assert is_kept_until(pen.delete, lambda: Product.objects.using("replica").count())


def test_tenants_share_nothing(store, tmp_path):
    """Each sees its own results, and its writes leave those of others."""
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


@override_settings(CACHEOPS={"shop.label": {"ops": "get", "timeout": 60, "local_get": True}})
def test_tenants_share_no_memory_of_the_process(store):
    """Neither with local_get."""
    label = Label.objects.create(text="new")
    tenant = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda query: tenant[0]):
        assert Label.objects.get(pk=label.pk).text == "new"
        Label.objects.using("default").filter(pk=label.pk)._raw_delete("default")
        tenant[0] = "b"
        with pytest.raises(Label.DoesNotExist):
            Label.objects.get(pk=label.pk)


def test_a_prefix_of_a_write_is_that_of_its_moment(store):
    """Not of the commit, which may come when another host is served."""
    tenant = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda query: tenant[0]):
        read = lambda: Label.objects.count()
        assert read() == 0
        with transaction.atomic():
            Label.objects.create(text="new")
            tenant[0] = "b"
        tenant[0] = "a"
        assert read() == 1


def test_invalidate_all_clears_all_prefixes_and_nothing_else(store):
    """Those of tables and of the simple cache; not those of other projects."""
    others = {"cacheops:v:x", "other:cacheops:t:shop_label", "shop_label", "mine:", "mine:x", "min?:cacheops:v:x"}
    for key in others:
        store.set(key, 1)
    with override_settings(CACHEOPS_PREFIX=lambda query: "mine:" + "".join(query.tables)):
        Label.objects.count()
        cache.set("key", 1, 10)
        invalidate_all()
    assert keys_of(store) == others


def test_invalidation_by_hand_knows_the_prefix(store):
    """Of an object, of a model and of the command."""
    label = Label.objects.create(text="new")
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{query.tables}"):
        calls = []
        func = cached_as(Label)(lambda: calls.append(1) or len(calls))
        assert is_kept_until(lambda: invalidate_obj(label), func)
        assert is_kept_until(lambda: invalidate_model(Label), func)
        assert is_kept_until(invalidate_all, func)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("*?[]\\^-%{}|&=:@\n\0 ", max_size=8)
)
def test_special_characters_are_harmless(store, prefix):
    """Whatever text it is, results are kept, fall and are cleared, and nobody else's keys are."""
    near = [f"{prefix}xcacheops:v:1", f"x{prefix}cacheops:v:1", prefix + "cacheops", "a" + prefix[1:] + "bcacheops:v:1"]
    with override_settings(CACHEOPS_PREFIX=lambda query: prefix):
        for key in near:
            store.set(key, 1)
        label = Label.objects.create(text="new")
        assert is_kept_until(lambda: Label.objects.update(text="old"), of(Label, "text"))
        label.refresh_from_db()
        label.text = "saved"
        assert is_kept_until(label.save, of(Label, "text"))
        category = Category.objects.create(name="pens")
        Product.objects.create(sku="pen", category=category)
        category.name = "quills"
        rows_by_dependency = lambda: [each.category.name for each in Product.objects.select_related("category")]
        assert is_kept_until(category.save, rows_by_dependency)
        Product.objects.all().delete()
        cache.set("key", 1, 10)
        assert cache.get("key") == 1
        label.delete()
        invalidate_all()
        assert keys_of(store) == set(near)
        store.delete(*near)
