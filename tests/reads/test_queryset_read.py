"""Reads through the cache return what reads from the database return."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.models import (
    Avg,
    Case,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Func,
    IntegerField,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, ExtractYear, Now, Random, RowNumber
from django.db.models.signals import post_init

from cacheops_lite.signals import cache_read
from tests.conftest import run_async
from tests.property.differential import uncached
from tests.rich.models import Step
from tests.shop.models import Category, Customer, Label, Product, Unwatched, VisibleProduct, Warranty
from tests.support import services
from tests.support.stored_values import with_payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Two categories, three products."""
    pens = Category.objects.create(name="pens")
    inks = Category.objects.create(name="inks", parent=pens)
    label = Label.objects.create(text="new")
    for i, category in enumerate([pens, pens, inks]):
        product = Product.objects.create(sku=f"s{i}", name=f"n{i}", category=category, views=i, facts={"i": [i]})
        product.labels.add(label)
    Warranty.objects.create(product=product, months=12)
    Customer.objects.create(name="c", city="Oslo")
    return pens


VALUES = {
    "get": lambda: Product.objects.get(sku="s1").pk,
    "first": lambda: Product.objects.order_by("name").first().pk,
    "last": lambda: Product.objects.order_by("name").last().pk,
    "earliest": lambda: Product.objects.earliest("views").pk,
    "latest": lambda: Product.objects.latest("views").pk,
    "in_bulk": lambda: sorted(Product.objects.in_bulk()),
    "fetch": lambda: [p.facts for p in Product.objects.order_by("pk")],
    "slice": lambda: [p.pk for p in Product.objects.order_by("pk")[1:]],
    "index": lambda: Product.objects.order_by("pk")[1].pk,
    "count": lambda: Product.objects.filter(views__gt=0).count(),
    "exists": lambda: Product.objects.filter(views=1).exists(),
    "contains": lambda: Product.objects.filter(views=1).contains(Product(pk=1)),
    "aggregate": lambda: Product.objects.aggregate(Sum("views"), n=Count("*")),
    "aggregate over annotation": lambda: Product.objects.annotate(n=Count("labels")).aggregate(Avg("n")),
    "aggregates that refer to each other": lambda: Product.objects.aggregate(a=Sum("views"), b=F("a") * 2),
    "values": lambda: list(Product.objects.order_by("pk").values("pk", "category__name")),
    "values_list": lambda: list(Product.objects.order_by("pk").values_list("pk", "name")),
    "flat": lambda: list(Product.objects.order_by("pk").values_list("name", flat=True)),
    "named": lambda: [row.name for row in Product.objects.order_by("pk").values_list("name", named=True)],
    "dates": lambda: list(Product.objects.dates("day", "year")),
    "distinct": lambda: list(Product.objects.order_by("category").distinct().values_list("category", flat=True)),
    "select_related": lambda: [p.category.parent and p.category.parent.name for p in products("category__parent")],
    "reverse one to one": lambda: [hasattr(p, "warranty") for p in products("warranty")],
    "prefetch": lambda: [[x.text for x in p.labels.all()] for p in prefetched("labels")],
    "prefetch with a queryset": lambda: [p.news for p in prefetched(Prefetch("labels", NEWS.all(), to_attr="news"))],
    "defer": lambda: [p.get_deferred_fields() for p in Product.objects.defer("text").order_by("pk")],
    "only": lambda: [p.get_deferred_fields() for p in Product.objects.only("name").order_by("pk")],
    "annotate": lambda: [p.n for p in Product.objects.annotate(n=Count("labels")).order_by("pk")],
    "subquery": lambda: list(Product.objects.annotate(m=Coalesce(Subquery(MONTHS), 0)).order_by("pk").values("m")),
    "exists in a filter": lambda: Product.objects.filter(Exists(MONTHS)).count(),
    "case": lambda: list(Product.objects.annotate(c=Case(When(views=1, then=Value("a")))).order_by("pk").values("c")),
    "window": lambda: list(Product.objects.annotate(r=Window(RowNumber(), order_by="pk")).values_list("r", flat=True)),
    "filter on a window": lambda: list(Product.objects.annotate(r=RANK).filter(r=1).values_list("pk", flat=True)),
    "filtered relation": lambda: Product.objects.annotate(w=long_warranty()).filter(w__months=12).count(),
    "union": lambda: sorted(Product.objects.values_list("name").union(Category.objects.values_list("name"))),
    "union of instances": lambda: len(Product.objects.filter(views=1).union(Product.objects.filter(views=2))),
    "extra": lambda: [p.w for p in Product.objects.extra(select={"w": "views + 1"}).order_by("pk")],
    "raw expression": lambda: list(Product.objects.annotate(v=RawSQL("views + %s", [1])).order_by("pk").values("v")),
    "extract": lambda: Product.objects.annotate(y=ExtractYear("day")).filter(y=2026).count(),
    "proxy": lambda: [type(p).__name__ for p in VisibleProduct.objects.all()],
    "child": lambda: [(c.name, c.city) for c in Customer.objects.all()],
    "subquery in a filter": lambda: Product.objects.filter(category__in=Category.objects.filter(name="inks")).count(),
    "order by a relation": lambda: [p.pk for p in Product.objects.order_by("category__name", "pk")],
    "related manager": lambda: [p.pk for p in Category.objects.get(name="pens").products.order_by("pk")],
    "many to many manager": lambda: [p.pk for p in Label.objects.get().products.order_by("pk")],
}
CLOCK = Func(function="CURRENT_TIMESTAMP", template="%(function)s", output_field=CharField())
NEWS = Label.objects.filter(text="new")
MONTHS = Warranty.objects.filter(product=OuterRef("pk")).values("months")[:1]
RANK = Window(RowNumber(), partition_by="category", order_by="pk")


def long_warranty():
    return FilteredRelation("warranty", condition=Q(warranty__months__gt=6))


def products(*related):
    return Product.objects.select_related(*related).order_by("pk")


def prefetched(lookup):
    return Product.objects.prefetch_related(lookup).order_by("pk")


@pytest.mark.parametrize("name", VALUES)
def test_the_second_read_is_a_hit_with_an_equal_result(name, is_hit, queries):
    """It runs no SQL."""
    read = VALUES[name]
    first = read()
    with queries() as ran:
        assert is_hit(read)
        assert len(ran) == 0
    assert read() == first == uncached(read)


def test_foreign_key_access_is_cached(is_hit, queries):
    """It is cached like a get() of the related model."""
    Product.objects.get(sku="s1").category  # noqa: B018
    product = Product.objects.get(sku="s1")
    with queries() as ran:
        assert product.category.name == "pens"
    assert len(ran) == 0


def test_async_reads_are_cached(is_hit):
    """aget, acount, aexists, aaggregate, afirst, ain_bulk and async for."""

    async def read():
        return [
            (await Product.objects.aget(sku="s1")).pk,
            await Product.objects.acount(),
            await Product.objects.filter(views=1).aexists(),
            await Product.objects.aaggregate(Sum("views")),
            (await Product.objects.order_by("pk").afirst()).pk,
            sorted(await Product.objects.ain_bulk()),
            [p.pk async for p in Product.objects.order_by("pk")],
        ]

    first = run_async(read())
    assert is_hit(lambda: run_async(read()))
    assert run_async(read()) == first


def test_reads_do_not_share_instances():
    """A change of one instance does not change the next read."""
    Product.objects.get(sku="s1")
    Product.objects.get(sku="s1").facts["i"].append(5)
    assert Product.objects.get(sku="s1").facts == {"i": [1]}


def test_cached_instances_equal_fetched_instances():
    """This includes the model state, the database and the post_init signal."""
    initialised = []
    fetched = uncached(lambda: Product.objects.get(sku="s1"))
    Product.objects.get(sku="s1")
    post_init.connect(
        lambda instance, **kwargs: initialised.append(instance.sku), sender=Product, weak=False, dispatch_uid="t"
    )
    try:
        cached = Product.objects.get(sku="s1")
    finally:
        post_init.disconnect(sender=Product, dispatch_uid="t")
    assert initialised == ["s1"]
    assert vars(cached._state) == vars(fetched._state)
    assert {k: v for k, v in vars(cached).items() if k != "_state"} == {
        k: v for k, v in vars(fetched).items() if k != "_state"
    }


def test_an_empty_result_is_cached(is_hit):
    """It is invalidated when a matching row is created."""
    assert list(Product.objects.filter(name="none")) == []
    assert is_hit(lambda: list(Product.objects.filter(name="none")))
    Product.objects.create(sku="none", name="none")
    assert len(Product.objects.filter(name="none")) == 1


def test_does_not_exist_is_cached(reads):
    """MultipleObjectsReturned is raised as well."""
    for _ in range(2):
        with pytest.raises(Product.DoesNotExist):
            Product.objects.get(sku="none")
    assert (reads.hits, reads.misses) == (1, 1)
    with pytest.raises(Product.MultipleObjectsReturned):
        Product.objects.get(category__name="pens")


def test_a_query_that_can_have_no_result_uses_neither_redis_nor_the_database(reads, queries, store):
    """The signal calls it a hit, as django-cacheops does from the second time on."""
    with queries() as found:
        _read_without_results()
    assert not found.captured_queries
    assert not [key for key in store.scan_iter() if b"cacheops:b:" not in key]
    assert (reads.hits, reads.misses) == (4, 0)


def _read_without_results():
    assert list(Product.objects.filter(pk__in=[])) == []
    assert Product.objects.none().count() == 0
    assert not Product.objects.filter(pk__in=[]).exists()
    assert Product.objects.filter(pk__in=[]).aggregate(Sum("views")) == {"views__sum": None}


@pytest.mark.parametrize(
    "queryset",
    [
        lambda: Product.objects.order_by("?"),
        lambda: Product.objects.filter(added__lt=Now()),
        lambda: Product.objects.annotate(r=Random()),
        lambda: Product.objects.annotate(r=CLOCK),
    ],
)
def test_non_deterministic_queries_are_cached_only_by_cache(queryset, reads):
    """Their results depend on the time or on chance."""
    list(queryset())
    assert (reads.hits, reads.misses) == (0, 0)
    list(queryset().cache())
    assert reads.misses == 1


def test_raw_sql_that_may_read_other_tables_is_not_cached(reads):
    """Its dependencies are unknown."""
    counted = RawSQL("(SELECT COUNT(*) FROM shop_label)", [])
    list(Product.objects.annotate(n=counted))
    list(Product.objects.annotate(n=counted).cache())
    list(Product.objects.extra(where=["id IN (SELECT product_id FROM shop_warranty)"]))
    assert (reads.hits, reads.misses) == (0, 0)


def test_a_query_of_a_table_without_a_profile_is_not_cached(reads, caplog):
    """Writes to such a table are not tracked; the log names it."""
    Unwatched.objects.create(name="u", product=Product.objects.get(sku="s1"))
    before = reads.misses
    with caplog.at_level("INFO", "cacheops_lite"):
        list(Product.objects.filter(unwatched__name="u"))
        list(Product.objects.filter(Exists(Unwatched.objects.filter(product=OuterRef("pk")))))
        list(Unwatched.objects.all())
    assert reads.misses == before
    assert "shop.Unwatched" in caplog.text


def test_select_for_update_is_never_cached(reads):
    """It must return the current row."""
    from django.db import transaction

    with transaction.atomic():
        list(Product.objects.select_for_update().cache())
    assert (reads.hits, reads.misses) == (0, 0)


def test_parameters_of_different_types_have_different_keys(is_hit):
    """This applies to 1 and '1' even where the database treats them alike."""
    Product.objects.filter(name="1").count()
    assert not is_hit(lambda: Product.objects.annotate(x=Value(1)).filter(x=1).count())
    one = Product.objects.annotate(x=Value(1, IntegerField())).values_list("x", flat=True)
    text = Product.objects.annotate(x=Value("1", CharField())).values_list("x", flat=True)
    assert set(one) == {1}
    assert set(text) == {"1"}


def test_different_output_fields_have_different_results():
    """The SQL is equal, but the values are converted differently."""
    plain = ExpressionWrapper(F("facts"), output_field=CharField())
    assert Product.objects.annotate(x=F("facts")).order_by("pk").values_list("x", flat=True)[0] == {"i": [0]}
    assert Product.objects.annotate(x=plain).order_by("pk").values_list("x", flat=True)[0] != {"i": [0]}


def test_a_proxy_model_and_its_concrete_model_have_different_results():
    """The SQL is equal, but the class of the instances differs."""
    assert {type(p) for p in Product.objects.all()} == {Product}
    assert {type(p) for p in VisibleProduct.objects.all()} == {VisibleProduct}


def test_cache_sets_ops_timeout_and_lock(is_hit, store, settings):
    """For the queryset and those derived from it."""
    settings.CACHEOPS = {"shop.*": {"ops": (), "timeout": 60}}
    assert not caches(lambda: list(Product.objects.all()))
    assert caches(lambda: list(Product.objects.cache()))
    queryset = Product.objects.all().cache(ops="count", timeout=5, lock=True)
    assert not caches(lambda: list(queryset.filter(views=1)))
    assert caches(lambda: queryset.filter(views=1).count())
    values = [key for key in store.scan_iter(match="*cacheops:v:*") if store.ttl(key) <= 5]
    assert len(values) == 1


def caches(read):
    signals = []

    def note(**kwargs):
        signals.append(kwargs)

    cache_read.connect(note)
    try:
        read()
    finally:
        cache_read.disconnect(note)
    return bool(signals)


@pytest.mark.parametrize(
    ("ops", "cached", "uncached_reads"),
    [
        ("get", ["get", "first", "last", "in_bulk", "earliest", "latest"], ["fetch", "count", "exists", "aggregate"]),
        ("fetch", ["fetch", "slice", "values"], ["count", "exists", "aggregate"]),
        ("count", ["count"], ["fetch", "get", "exists"]),
        ("exists", ["exists", "contains"], ["fetch", "count"]),
        ("aggregate", ["aggregate"], ["fetch", "count"]),
    ],
)
def test_only_the_ops_of_a_profile_are_cached(settings, ops, cached, uncached_reads):
    settings.CACHEOPS = {"shop.*": {"ops": ops, "timeout": 60}}
    assert [name for name in cached if not caches(VALUES[name])] == []
    assert [name for name in uncached_reads if caches(VALUES[name])] == []


def test_nocache_disables_caching():
    """For the queryset and those derived from it, on querysets and managers."""
    assert not caches(lambda: list(Product.objects.nocache().filter(views=1)))
    assert not caches(lambda: list(Product.objects.filter(views=1).nocache()))
    assert not caches(lambda: list(Unwatched.objects.nocache()))


def test_cache_requires_a_profile():
    """The message is that of django-cacheops."""
    with pytest.raises(ImproperlyConfigured, match=r"not enabled for shop\.unwatched"):
        Unwatched.objects.cache()


@pytest.mark.parametrize("kwargs", [{"ops": "gets"}, {"ops": ["count", 5]}, {"timeout": "5"}, {"timeout": -5}])
def test_cache_rejects_invalid_arguments(kwargs):
    """The error is raised by the call itself."""
    with pytest.raises(ImproperlyConfigured, match="Product: cache"):
        Product.objects.cache(**kwargs)


def test_inplace_querysets_change_instead_of_cloning():
    queryset = Product.objects.inplace()
    assert queryset.filter(views=1) is queryset
    assert queryset.count() == 1
    assert queryset.cloning().filter(views=2) is not queryset
    some = Product.objects.all().cloning(1)
    clone = some.all()
    assert clone is not some
    assert clone.all() is clone
    assert len(clone.filter(views=1)) == 1
    assert len(clone.filter(views=2)) == 0


def test_a_disabled_cache_is_not_used(settings):
    """With ``CACHEOPS_ENABLED = False`` no read goes through the cache."""
    settings.CACHEOPS_ENABLED = False
    assert [name for name in VALUES if caches(VALUES[name])] == []


def test_db_agnostic_decides_whether_databases_share_results(settings, store):
    """If it is false, the key contains the name of the database."""
    list(Product.objects.filter(views=1))
    shared = len(list(store.scan_iter(match="*cacheops:v:*")))
    settings.CACHEOPS = {"shop.*": {"ops": "all", "timeout": 60, "db_agnostic": False}}
    list(Product.objects.filter(views=1))
    assert len(list(store.scan_iter(match="*cacheops:v:*"))) == shared + 1


def test_a_value_that_can_not_be_decoded_is_a_miss_and_logged(store, caplog, is_hit):
    """Such a value was written by another version, or refers to a class that no longer exists."""
    Product.objects.get(sku="s1")
    for key in store.scan_iter(match="*cacheops:v:*"):
        store.set(key, with_payload(key.decode(), store.get(key), b"no pickle"))
    assert not is_hit(lambda: Product.objects.get(sku="s1"))
    assert "Can't decode" in caplog.text
    assert is_hit(lambda: Product.objects.get(sku="s1"))


def test_a_receiver_that_raises_does_not_break_a_read(caplog):
    """The error is logged."""

    def broken(**kwargs):
        raise RuntimeError("broken receiver")

    cache_read.connect(broken)
    try:
        assert Product.objects.get(sku="s1").views == 1
    finally:
        cache_read.disconnect(broken)
    assert "broken receiver" in caplog.text


def test_cached_binary_columns_have_the_type_that_the_database_returns():
    """It is bytes or memoryview."""
    Product.objects.filter(sku="s1").invalidated_update(blob=b"\0x")
    fetched = uncached(lambda: Product.objects.get(sku="s1").blob)
    for _ in range(2):
        cached = Product.objects.get(sku="s1").blob
        assert type(cached) is type(fetched)
        assert bytes(cached) == b"\0x"


def test_errors_of_django_are_raised_unchanged():
    with pytest.raises(TypeError, match="Complex aggregates require an alias"):
        Product.objects.aggregate(F("views") + 1)
    with pytest.raises(TypeError):
        Product.objects.aggregate("views")
    with pytest.raises(TypeError, match="is not an aggregate"):
        Product.objects.aggregate(x=F("views"))
    assert Product.objects.aggregate() == {}


def test_an_evaluated_queryset_is_not_read_again(reads):
    """Its count() and exists() use the rows in memory."""
    queryset = Product.objects.all()
    list(queryset)
    before = reads.hits + reads.misses
    assert (queryset.count(), queryset.exists(), len(queryset)) == (3, True, 3)
    assert reads.hits + reads.misses == before


@services.on_one_server
@pytest.mark.parametrize("name", ["fetch", "get", "select_related"])
def test_a_hit_is_one_command(name, monkeypatch, store):
    VALUES[name]()
    sent = []
    execute = type(store).execute_command
    monkeypatch.setattr(
        type(store), "execute_command", lambda self, *args, **kw: sent.append(args[0]) or execute(self, *args, **kw)
    )
    VALUES[name]()
    assert sent == ["MGET"]


def test_querysets_can_be_pickled_and_copied_with_their_cache_options():
    import copy
    import pickle

    queryset = Product.objects.filter(views=1).cache(timeout=5)
    assert len(pickle.loads(pickle.dumps(queryset))) == 1
    assert len(copy.deepcopy(queryset)) == 1


def test_a_hit_needs_no_database_connection(shop, is_hit):
    pk = shop.pk
    Category.objects.get(pk=pk)
    connection.close()
    assert is_hit(lambda: Category.objects.get(pk=pk))
    assert connection.connection is None


def test_count_of_a_union_of_an_ordered_model_equals_the_uncached_count():
    """Django leaves the default ordering of the model out of the query that it counts."""

    def count():
        try:
            return Step.objects.values_list("pk").union(Step.objects.filter(text="a").values_list("pk")).count()
        except DatabaseError as error:
            return type(error)

    assert count() == count() == uncached(count)


def test_iterator_is_cached_only_by_cache(reads, is_hit):
    """iterator() is meant for results that do not fit into memory."""
    products = Product.objects.order_by("pk").prefetch_related("labels")
    found = list(products)
    before = reads.hits + reads.misses
    assert list(products.iterator(chunk_size=2)) == found
    assert reads.hits + reads.misses == before + 2, "of the labels of two chunks alone"
    cached_products = products.cache(ops="fetch", timeout=50)
    assert list(cached_products.iterator(chunk_size=2)) == found
    assert is_hit(lambda: list(cached_products.iterator(chunk_size=2)))
    with pytest.raises(ValueError, match="Chunk size"):
        cached_products.iterator(chunk_size=0)

    async def iterate(queryset):
        return [each async for each in queryset.aiterator(chunk_size=2)]

    assert run_async(iterate(cached_products)) == found
    assert is_hit(lambda: run_async(iterate(cached_products)))
    assert run_async(iterate(products.nocache())) == found
