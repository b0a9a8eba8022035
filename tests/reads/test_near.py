"""Reads of near models: near hits equal the database, each caller gets objects of its own, and every write is seen."""

import threading
from contextlib import nullcontext

import pytest
from django.db import connection, transaction
from django.db.models import Count, Max
from django.db.models.signals import post_init
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.utils import timezone, translation

from cacheops_lite import cached_as, cached_view_as, conf, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.inspection.stored_values import remove
from cacheops_lite.observe import Reason, counters
from cacheops_lite.store import client, near
from tests.conftest import in_thread
from tests.shop.models import Category, Document, Label, Page, Product, VisibleProduct
from tests.support.near import (
    LEASE,
    PROFILE,
    bring_near,
    decided,
    is_near,
    near_profiles,
    nothing_received,
    on_server,
    settle,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def store(store, own_server):
    """On a server of its own: Redis tells near caches of each FLUSHDB, whichever of its databases that concerns."""
    with on_server(store, own_server) as client:
        yield client


@pytest.fixture(autouse=True)
def clock(store, monkeypatch):
    with near_profiles(monkeypatch, store) as clock:
        yield clock


@pytest.fixture
def rows():
    category = Category.objects.create(name="food")
    product = Product.objects.create(sku="a", name="apple", category=category, facts={"sizes": [1]})
    product.labels.add(Label.objects.create(text="red"))
    return product


READS = {
    "get": lambda: Product.objects.get(sku="a").name,
    "foreign key": lambda: Product.objects.get(sku="a").category.name,
    "fetch": lambda: [each.name for each in Product.objects.order_by("pk")],
    "values": lambda: list(Product.objects.values("sku", "name")),
    "values_list": lambda: list(Product.objects.values_list("name", flat=True)),
    "mutable values": lambda: list(Product.objects.values_list("facts", flat=True)),
    "count": lambda: Product.objects.filter(name="apple").count(),
    "exists": lambda: Product.objects.filter(name="apple").exists(),
    "aggregate": lambda: Product.objects.aggregate(Max("name"), Count("pk")),
    "select_related": lambda: [each.category.name for each in Product.objects.select_related("category")],
    "join": lambda: list(Product.objects.filter(category__name="food").values_list("sku", "name")),
    "prefetch": lambda: [
        (each.name, [label.text for label in each.labels.all()]) for each in Product.objects.prefetch_related("labels")
    ],
    "first": lambda: Product.objects.order_by("sku").first().name,
}
WRITES = {
    "save": lambda product: (setattr(product, "name", "pear"), product.save()),
    "save in a transaction": lambda product: in_transaction(lambda: product.save()),
    "update": lambda product: Product.objects.update(name="plum"),
    "invalidated_update": lambda product: Product.objects.invalidated_update(name="fig"),
    "create": lambda product: Product.objects.create(sku="0", name="apple", category=product.category),
    "bulk_create": lambda product: Product.objects.bulk_create([Product(sku="0", category=product.category)]),
    "bulk_update": lambda product: Product.objects.bulk_update([product], ["name"]),
    "delete": lambda product: product.delete(),
    "of the category": lambda product: Category.objects.update(name="drink"),
    "of the label": lambda product: Label.objects.update(text="green"),
    "of the link": lambda product: product.labels.clear(),
    "SQL": lambda product: connection.cursor().execute("UPDATE shop_product SET name = 'kiwi'"),
}


def in_transaction(write):
    with transaction.atomic():
        write()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_of_each_kind_becomes_a_near_hit_with_an_equal_result(rows, read, queries, monkeypatch):
    """It asks neither Redis nor the database."""
    with override_settings(CACHEOPS_ENABLED=False):
        expected = read()
    assert bring_near(read) == expected
    monkeypatch.setattr(client, "_direct", lambda: pytest.fail("Redis is asked"))
    with queries() as ran:
        assert is_near(read)
        assert read() == expected
    assert len(ran) == 0


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("by_other", [False, True], ids=["own", "of another thread"])
def test_no_near_read_is_older_than_a_write(rows, write, by_other):
    """Whatever writes, and whatever is read."""
    for read in READS.values():
        bring_near(read)
    rows.name = "pear"
    in_thread(lambda: (write(rows), 1)) if by_other else write(rows)
    settle()
    with override_settings(CACHEOPS_ENABLED=False):
        expected = [_result(read) for read in READS.values()]
    for _ in range(3):
        assert [_result(read) for read in READS.values()] == expected
        settle()


def _result(read):
    try:
        return read()
    except (Product.DoesNotExist, AttributeError) as error:
        return type(error)


def test_a_write_drops_only_what_it_meets(rows):
    other = Product.objects.create(sku="b", name="bean")
    own, others = (lambda sku=sku: Product.objects.get(sku=sku).name for sku in "ab")
    for read in (own, others):
        bring_near(read)
    other.name = "beet"
    other.save()
    own()
    settle()
    assert is_near(own)
    assert others() == "beet"


@pytest.mark.parametrize(
    "invalidate", [invalidate_obj, lambda obj: invalidate_model(Product), lambda _: invalidate_all()]
)
def test_manual_invalidation_reaches_the_near_cache(rows, invalidate):
    read = READS["get"]
    bring_near(read)
    invalidate(rows)
    with decided() as reasons:
        read()
    assert reasons in ([Reason.NOT_STORED], [Reason.INVALIDATED])


def test_a_result_that_is_removed_by_hand_is_removed_from_the_near_cache(rows):
    bring_near(READS["get"])
    assert remove(near.entries.all()[0].key)
    with decided() as reasons:
        READS["get"]()
    assert reasons == [Reason.NOT_STORED]


def test_tenants_share_no_near_entries():
    tenant = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda query: tenant[0]):
        label = Label.objects.create(text="new")
        assert bring_near(lambda: Label.objects.get(pk=label.pk)).text == "new"
        Label.objects.using("default").filter(pk=label.pk)._raw_delete("default")
        tenant[0] = "b"
        with pytest.raises(Label.DoesNotExist):
            Label.objects.get(pk=label.pk)


def test_a_transaction_that_has_written_reads_past_the_near_cache(rows):
    bring_near(READS["get"])
    with transaction.atomic():
        Product.objects.update(name="pear")
        assert READS["get"]() == "pear"
        transaction.set_rollback(True)
    assert READS["get"]() == "apple"


def test_each_caller_gets_values_of_its_own(rows):
    """Of JSON, dicts, lists and instances."""
    for read in (
        lambda: Product.objects.get(sku="a").facts,
        lambda: Product.objects.order_by("pk")[:1][0].facts,
        lambda: Product.objects.values("facts")[0]["facts"],
    ):
        for _ in range(5):
            found = read()
            assert found == {"sizes": [1]}
            found["sizes"].append(2)
            settle()
        assert is_near(read)
    aggregate = lambda: Product.objects.aggregate(n=Count("pk"))
    for _ in range(5):
        found = aggregate()
        assert found == {"n": 1}
        found["n"] = 2
        settle()


def test_an_init_that_mutates_a_value_gets_a_copy_of_the_row():
    pk = Document.objects.create().pk
    Document.objects.update(facts={"kind": "memo", "by": "Kim"})
    for _ in range(5):
        found = Document.objects.get(pk=pk)
        assert (found.kind, found.facts) == ("memo", {"by": "Kim"})
        settle()


def test_a_receiver_of_post_init_is_called_for_each_instance(rows):
    made = []

    def note(instance, **kwargs):
        made.append(instance)

    bring_near(READS["get"])
    post_init.connect(note, sender=Product)
    try:
        found = [Product.objects.get(sku="a") for _ in range(2)]
    finally:
        post_init.disconnect(note, sender=Product)
    assert made == found
    assert found[0] is not found[1]


def test_values_that_depend_on_the_language_or_time_zone_are_converted_for_each_read():
    Page.objects.bulk_create([Page(title={"en": "Hello", "de": "Hallo"}, at=timezone.now())])
    pk = Page.objects.nocache().values_list("pk", flat=True)[0]
    for _ in range(4):
        for language, title in ("en", "Hello"), ("de", "Hallo"):
            with translation.override(language):
                assert Page.objects.get(pk=pk).title == title
        shown = set()
        for zone in "UTC", "Asia/Tokyo":
            with timezone.override(zone), translation.override("de"):
                shown.add(Page.objects.get(pk=pk).at)
        assert len(shown) == 2
        settle()


def test_a_proxy_model_gets_instances_of_its_own_class(rows):
    for model in (Product, VisibleProduct) * 4:
        assert type(model.objects.get(pk=rows.pk)) is model
        settle()


def test_results_of_functions_views_and_fragments_are_kept(rows):
    """By default where the samples are near."""
    calls = []

    @cached_as(Product)
    def names():
        calls.append("function")
        return [each.name for each in Product.objects.nocache()]

    @cached_view_as(Product)
    def view(request):
        calls.append("view")
        return HttpResponse(" ".join(names()))

    template = Template("{% load cacheops %}{% cached_as products 60 'x' %}{{ products|length }}{% endcached_as %}")
    request = RequestFactory().get("/")
    reads = [
        names,
        lambda: view(request).content,
        lambda: template.render(Context({"products": Product.objects.all()})),
    ]
    for read in reads:
        first = read()
        assert bring_near(read) == first
        assert is_near(read)
    names().append("changed")
    assert names() == ["apple"]
    Product.objects.update(name="pear")
    assert names() == ["pear"]
    assert view(request).content == b"pear"


@pytest.mark.parametrize(("near_option", "is_kept"), [(None, True), (False, False), ("relaxed", True)])
def test_a_decorator_may_say_otherwise(rows, near_option, is_kept):
    counted = cached_as(Product, near=near_option)(lambda: Product.objects.nocache().count())
    bring_near(counted)
    assert is_near(counted) is is_kept


def test_a_near_value_lives_as_long_as_its_timeout(rows, clock, store):
    read = READS["get"]
    bring_near(read)
    clock.advance(61)
    store.flushdb()
    with decided() as reasons:
        read()
    assert reasons == [Reason.NOT_STORED]


def test_after_its_lease_a_read_asks_redis_and_renews_it(rows, clock):
    bring_near(READS["get"])
    clock.advance(LEASE * 1.5)
    with nothing_received():
        assert not is_near(READS["get"])
    settle()
    assert is_near(READS["get"])


def test_a_lease_counts_from_the_renewal_not_from_its_reply(rows, clock):
    bring_near(READS["get"])
    clock.advance(LEASE * 1.5)
    with nothing_received():
        READS["get"]()
        clock.advance(LEASE * 1.5)
    settle()
    with nothing_received():
        assert not is_near(READS["get"])


def test_the_lease_is_renewed_before_it_ends(rows, clock):
    bring_near(READS["get"])
    for _ in range(10):
        clock.advance(LEASE * 0.6)
        assert is_near(READS["get"])
        settle()


def test_local_get_keeps_what_get_finds(rows):
    with override_settings(CACHEOPS={"shop.*": {"ops": "all", "timeout": 60, "local_get": True}}):
        for read in (READS["get"], READS["foreign key"]):
            bring_near(read)
            assert is_near(read)
        bring_near(READS["fetch"])
        assert not is_near(READS["fetch"])


def test_explain_says_what_the_near_cache_does(rows):
    queryset = Product.objects.filter(name="apple")
    assert "near: off: no result was read from Redis yet" in str(queryset.explain_cache("count"))
    bring_near(queryset.count)
    report = queryset.explain_cache("count")
    assert report.near == "in the near cache"
    assert "near" in report.profile
    assert Product.objects.explain_cache("exists").near == "not in the near cache yet"
    assert Product.objects.nocache().explain_cache("count").near == ""


def test_threads_share_the_near_cache(rows):
    """One uses the connection at a time; the others ask Redis meanwhile."""
    bring_near(READS["get"])
    assert in_thread(lambda: is_near(READS["get"]))
    near.forget_lease()
    with near._lock:
        assert in_thread(READS["get"]) == "apple"
    barrier, found = threading.Barrier(8), []

    def read():
        barrier.wait()
        found.extend(READS["fetch"]() for _ in range(20))
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [["apple"]] * 160


def test_relaxed_writers_do_not_wait_and_see_their_own_writes(rows, monkeypatch):
    slept = []
    monkeypatch.setattr("cacheops_lite.store.near_leases.time.sleep", slept.append)
    with override_settings(CACHEOPS={"*.*": {**PROFILE, "near": "relaxed"}, "shop.unwatched": None}):
        bring_near(READS["get"])
        assert is_near(READS["get"])
        rows.name = "pear"
        slept.clear()
        rows.save()
        assert READS["get"]() == "pear"
    assert not slept


def test_a_near_hit_is_verified_like_one_in_redis(rows, caplog, settings):
    """CACHEOPS_VERIFY compares both with the database."""
    read = READS["count"]
    bring_near(read)
    near.entries.all()[0].value = 7
    monkeypatched = pytest.MonkeyPatch()
    monkeypatched.setitem(conf.settings.__dict__, "CACHEOPS_VERIFY", 1.0)
    try:
        assert read() == 7
    finally:
        monkeypatched.undo()
    # Redis has another value: only the near one differs.
    assert "differs from the database" in caplog.text


@pytest.fixture
def label():
    """A near row that can be shared, and whose get() takes the shorter way unless reads are observed."""
    label = Label.objects.create(text="red")
    bring_near(lambda: Label.objects.get(pk=label.pk))
    assert not near.entries.all()[0].is_encoded
    return label


@pytest.mark.parametrize("is_observed", [False, True])
def test_a_near_get_is_the_same_whether_reads_are_observed_or_not(label, is_observed, reads):
    """Without observers it takes a shorter way."""
    reads.hits = reads.misses = 0
    counters.take()
    with decided() if is_observed else nullcontext():
        found = Label.objects.get(pk=label.pk)
    assert found == label
    assert (found._state.db, found._state.adding, found.get_deferred_fields()) == ("default", False, set())
    assert (reads.hits, reads.misses) == (1, 0)
    counts = {each.reason: number for each, number in counters.take().items() if each.operation == "get"}
    assert counts.get("near-hit") == 1
    assert counts.keys() <= {"near-hit", "saved"}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_near_reads_are_counted_and_announced_alike_on_both_ways(rows, clock, read, reads):
    """Reads of every kind take a shorter way unless reads are observed."""
    result, seen = bring_near(read), []
    for is_observed in (True, False):
        reads.hits = reads.misses = 0
        counters.take()
        with decided() if is_observed else nullcontext():
            assert read() == result
        counts = {each: number for each, number in counters.take().items() if each.reason != "saved"}
        seen.append((reads.hits, reads.misses, counts))
    assert seen[0] == seen[1]
    assert {each.reason for each in seen[0][2]} == {"near-hit"}


def test_an_error_of_the_application_on_the_shorter_way_surfaces_as_django_raises_it(label, reads):
    """The read is announced once."""
    reads.hits = reads.misses = 0

    def refuse(**kwargs):
        raise ValueError("no")

    post_init.connect(refuse, sender=Label)
    try:
        with pytest.raises(ValueError, match="no"):
            Label.objects.get(pk=label.pk)
    finally:
        post_init.disconnect(refuse, sender=Label)
    assert (reads.hits, reads.misses) == (1, 0)
