"""What Redis has can be listed, shown and compared with the database."""

import pytest
from django.db import connection
from django.db.models import Count, Max
from django.test import override_settings

from cacheops_lite import cached_as
from cacheops_lite.conf import settings
from cacheops_lite.inspection import (
    Verdict,
    hottest_dependencies,
    largest_values,
    load,
    load_with_dependencies,
    remove,
    value_keys,
    verification,
    verify,
)
from cacheops_lite.store import compression, describe_shape
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows(store):
    pens = Category.objects.create(name="pens")
    for sku in ("a", "b"):
        Product.objects.create(sku=sku, category=pens)
    return pens


READS = {
    "fetch": lambda: list(Product.objects.filter(sku="a").order_by("pk")),
    "joined": lambda: list(Product.objects.select_related("category").order_by("pk")),
    "values": lambda: list(Product.objects.values_list("sku", flat=True)),
    "slice": lambda: list(Product.objects.order_by("-pk")[:1]),
    "get": lambda: Product.objects.get(sku="a"),
    "get by key": lambda: Product.objects.get(pk=Product.objects.nocache().get(sku="a").pk),
    "count": lambda: Product.objects.filter(sku="a").count(),
    "exists": lambda: Product.objects.filter(sku="a").exists(),
    "aggregate": lambda: Product.objects.aggregate(n=Count("id"), top=Max("sku")),
    "annotated": lambda: list(Category.objects.annotate(n=Count("products"))),
    "empty": lambda: list(Product.objects.filter(sku="nothing")),
}


def only_key():
    (key,) = value_keys()
    return key


@pytest.mark.parametrize("prefix", ["", "p:"])
@pytest.mark.parametrize("name", READS)
def test_a_stored_value_says_which_read_it_is_the_result_of(name, prefix):
    """And so it can be compared with the database."""
    with override_settings(CACHEOPS_PREFIX=lambda query: prefix):
        READS[name]()
        key = only_key()
        value = load_with_dependencies(key)
        assert value.label == ("shop.Category" if name == "annotated" else "shop.Product")
        assert value.operation == (name if name in ("count", "exists", "aggregate") else name.split()[0]) or name in (
            *("joined", "values", "slice", "annotated", "empty"),
        )
        assert value.text.startswith("SELECT ")
        assert value.is_valid is True
        assert value.dependencies
        assert 0 < value.seconds_left <= 600
        assert value.size > 0
        assert verify(key) is Verdict.SAME


@pytest.mark.parametrize("name", sorted(READS.keys() - {"empty", "values"}))
def test_a_row_that_another_program_changed_is_found(name, rows):
    """It writes past Django, so nothing is invalidated."""
    READS[name]()
    key = only_key()
    with connection.cursor() as cursor:
        execute = cursor.cursor.execute
        execute("UPDATE shop_product SET name = 'planted', views = 7")
        if name in ("count", "exists", "aggregate", "annotated"):
            execute("DELETE FROM shop_product WHERE sku = 'a'")
    assert verify(key) is Verdict.DIFFERENT


def test_a_value_that_a_write_invalidated_is_no_difference(rows):
    READS["fetch"]()
    key = only_key()
    with override_settings(CACHEOPS_INSIDEOUT=True):
        Product.objects.filter(sku="a").update(name="new")
    assert verify(key) in (Verdict.INVALID, Verdict.NOT_COMPARABLE)


def test_a_write_that_comes_between_is_no_difference(monkeypatch):
    """It invalidates the value before it commits, so the value is looked at again."""
    READS["fetch"]()
    read_database = verification._read_database

    def write_first(origin):
        Product.objects.filter(sku="a").update(name="new")
        return read_database(origin)

    monkeypatch.setattr(verification, "_read_database", write_first)
    assert verify(only_key()) is Verdict.INVALID


def test_results_of_functions_say_their_call():
    """They can't be compared: that would call the function."""

    @cached_as(Label)
    def greet(name, loud=False):
        return f"hello {name}"

    greet("you", loud=True)
    value = load(only_key())
    assert value.label.endswith("greet")
    assert value.operation == "call"
    assert value.text == "'you', loud=True"
    assert verify(value.key) is Verdict.NOT_COMPARABLE


def test_a_value_with_an_unknown_origin_is_listed_nevertheless(store):
    """For instance one whose compressed query was evicted, or of another program."""
    READS["fetch"]()
    key = only_key()
    for name in store.scan_iter("cacheops:q:*"):
        store.delete(name)
    assert load(key).label == "shop.Product"
    assert load(key).text == ""
    assert verify(key) is Verdict.NOT_COMPARABLE
    store.set(key, b"something else", 60)
    assert load(key).label == ""
    assert verify(key) is Verdict.NOT_COMPARABLE
    store.delete(key)
    assert load(key) is None


@pytest.mark.parametrize("prefix", ["", "p:"])
def test_a_single_value_can_be_removed(prefix, is_hit):
    """The next read stores it anew; other values stay."""
    with override_settings(CACHEOPS_PREFIX=lambda query: prefix):
        READS["fetch"]()
        key = only_key()
        READS["count"]()
        assert remove(key)
        assert not remove(key)
        assert is_hit(READS["count"])
        assert not is_hit(READS["fetch"])


def test_only_values_of_this_package_can_be_removed(store):
    """Neither versions of tables nor keys of other programs."""
    READS["fetch"]()
    store.set("other", "program")
    table = next(key.decode() for key in store.scan_iter("cacheops:[ti]:*"))
    for key in ("other", table):
        with pytest.raises(ValueError, match="is not the key of a cached value"):
            remove(key)
        assert store.exists(key)


def test_the_hottest_dependencies_are_those_that_most_values_share():
    for number in range(3):
        list(Product.objects.filter(category__name="pens").order_by("pk")[number:])
    list(Label.objects.all())
    found = hottest_dependencies(10)
    if settings.CACHEOPS_INSIDEOUT:
        # Redis does not keep them.
        assert not found
        return
    assert [number for _, number in found] == sorted((number for _, number in found), reverse=True)
    assert found[0][1] == 3
    assert "shop_" in found[0][0]


def test_a_sample_of_the_dependencies_is_enough_for_a_large_redis():
    for number in range(3):
        list(Product.objects.filter(category__name=f"pens {number}"))
    everything = hottest_dependencies(100)
    assert len(hottest_dependencies(100, max_compared=2)) == min(2, len(everything))
    assert hottest_dependencies(100, max_scanned=0) == []


def test_the_largest_values_come_first():
    list(Product.objects.all())
    Product.objects.count()
    list(Product.objects.values_list("sku"))
    found = largest_values(2)
    assert [each.operation for each in found] == ["fetch", "fetch"]
    assert found[0].size > found[1].size > 0
    assert len(largest_values(9)) == 3
    assert len(largest_values(9, max_compared=1)) == 1
    assert largest_values(9, max_scanned=0) == []


def test_shapes_of_dependencies_have_no_values():
    list(Product.objects.filter(sku="secret", name=None))
    words = [text for text, _ in hottest_dependencies(100, describe_shape)]
    assert "secret" not in str(words)
    assert any("sku = ?" in text for text in words) or not words


def test_values_that_ranges_compare_with_need_no_further_keys(store):
    """Each read with another value would else store a query of its own, which takes a miss further round trips."""
    for views in (10, 200, 3000):
        assert not list(Product.objects.filter(views__gt=views))
    assert len(list(store.scan_iter("*cacheops:q:*"))) == 1
    assert [verify(key) for key in value_keys()] == [Verdict.SAME] * 3


def test_other_comparisons_have_a_stored_query_of_their_own(store):
    """What is compressed with a query of another kind would not become short."""
    list(Product.objects.filter(views__gt=100))
    list(Product.objects.filter(views__lt=100))
    list(Product.objects.filter(views=100))
    assert len(list(store.scan_iter("*cacheops:q:*"))) == 3


def test_a_process_compresses_with_the_query_that_another_one_has_stored(store):
    """To replace it would leave the results of the other one without their origins."""
    for views in (10, 200):
        list(Product.objects.filter(views__gt=views))
        compression.forget()
    assert [verify(key) for key in value_keys()] == [Verdict.SAME] * 2
