"""What a piece of work read and wrote is collected: which write invalidated which result."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction

from cacheops_lite import inspection, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.observe import Outcome, activity, decisions, invalidations
from cacheops_lite.signals import cache_invalidated
from cacheops_lite.store import describe_dependency
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty(store):
    """Nothing is remembered from other tests."""
    activity.forget()


def outcomes(collected):
    return [each.outcome for each in collected.decisions]


def test_reads_and_writes_are_collected_with_what_they_met():
    """The write of one row invalidates the result of its list; the neighbour's list stays."""
    pens, inks = Category.objects.create(name="pens"), Category.objects.create(name="inks")
    pen = Product.objects.create(sku="pen", category=pens)
    Product.objects.create(sku="ink", category=inks)
    with activity.collect() as first:
        list(Product.objects.filter(category=pens))
        list(Product.objects.filter(category=inks))
    assert outcomes(first) == [Outcome.MISS, Outcome.MISS]
    assert all(each.compute_seconds > 0 and each.size > 0 for each in first.decisions)
    with activity.collect() as second:
        pen.name = "new"
        pen.save()
        list(Product.objects.filter(category=inks))
        list(Product.objects.filter(category=pens))
    assert outcomes(second) == [Outcome.HIT, Outcome.MISS]
    (write,) = second.invalidations
    assert (write.operation, write.model) == ("save", Product)
    assert __file__ in write.caller
    assert [each.key for each in activity.reads_met_by(write)] == [first.decisions[0].key]
    assert activity.cause_of(second.decisions[1]) is write
    words = [describe_dependency(name) for name in write.dependencies]
    assert any(f"category_id = {pens.pk}" in each for each in words), words


def test_a_change_of_a_joined_row_is_told_from_a_change_of_another_row():
    """A result depends on the joined rows that came back."""
    pens, inks = Category.objects.create(name="pens"), Category.objects.create(name="inks")
    Product.objects.create(sku="pen", category=pens)
    read = lambda: [each.category.name for each in Product.objects.select_related("category")]
    with activity.collect() as work:
        read()
        read()
        inks.name = "blue inks"
        inks.save()
        pens.name = "quills"
        pens.save()
        assert read() == ["quills"]
    unrelated, related = work.invalidations
    assert activity.reads_met_by(unrelated) == []
    assert len(activity.reads_met_by(related)) == 1
    assert outcomes(work) == [Outcome.MISS, Outcome.HIT, Outcome.MISS]


def test_a_write_is_the_cause_of_a_miss_only_if_it_came_between():
    """After the value was stored or last found, and before the miss."""
    Label.objects.create(text="a")
    read = lambda: list(Label.objects.all())
    with activity.collect() as work:
        read()
        Label.objects.filter(text="a").update(text="b")
        read()
        list(Label.objects.order_by("-text"))
        inspection.remove(work.decisions[0].key)
        read()
        Label.objects.filter(text="b").update(text="c")
    first, after_write, never_stored, removed = work.decisions
    assert outcomes(work) == [Outcome.MISS] * 4
    assert activity.cause_of(after_write) is work.invalidations[0]
    assert [activity.cause_of(each) for each in (first, never_stored, removed)] == [None] * 3


WRITES = {
    "save": lambda: Label.objects.create(text="b"),
    "update": lambda: Label.objects.filter(text="a").update(text="b"),
    "invalidated_update": lambda: Label.objects.filter(text="a").invalidated_update(text="b"),
    "delete": lambda: Label.objects.get(text="a").delete(),
    "bulk_create": lambda: Label.objects.bulk_create([Label(text="b")]),
    "SQL": lambda: connection.cursor().execute("UPDATE shop_label SET text = 'b'"),
    "invalidate_obj": lambda: invalidate_obj(Label.objects.get(text="a")),
    "invalidate_model": lambda: invalidate_model(Label),
}


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("operation", WRITES)
def test_each_kind_of_write_says_what_it_invalidated(operation, in_transaction):
    """In a transaction it is told at the commit."""
    Label.objects.create(text="a")
    list(Label.objects.all())
    with activity.collect() as work:
        if in_transaction:
            with transaction.atomic():
                WRITES[operation]()
                assert not work.invalidations
        else:
            WRITES[operation]()
    (write,) = work.invalidations
    assert write.operation == operation
    assert __file__ in write.caller
    assert write.dependencies
    assert all(describe_dependency(name).startswith("shop_label: ") for name in write.dependencies)
    assert ("UPDATE" in write.statement) == (operation == "SQL")


def test_each_write_of_a_transaction_tells_what_it_met_itself():
    """They are invalidated together, by one call."""
    pens, inks = Category.objects.create(name="pens"), Category.objects.create(name="inks")
    pen, ink = Product.objects.create(sku="pen", category=pens), Product.objects.create(sku="ink", category=inks)
    for category in (pens, inks):
        list(Product.objects.filter(category=category))
    with activity.collect() as work, transaction.atomic():
        for product in (pen, ink):
            product.name = "new"
            product.save()
    first, second = work.invalidations
    assert first.dependencies
    assert second.dependencies
    assert set(first.dependencies).isdisjoint(second.dependencies)


def test_a_write_that_is_rolled_back_is_not_told():
    list(Label.objects.all())
    with activity.collect() as work, pytest.raises(KeyError), transaction.atomic():
        Label.objects.create(text="a")
        raise KeyError
    assert not work.invalidations


def test_a_write_that_met_no_result_says_so():
    with activity.collect() as work:
        Label.objects.create(text="a")
    assert [each.dependencies for each in work.invalidations] == [[]]


def test_the_signal_tells_the_write_and_its_dependencies():
    """Receivers written for django-cacheops get the same arguments as ever, besides."""
    found = []

    def receive(sender, obj_dict, invalidation, **kwargs):
        found.append((sender, obj_dict["text"], invalidation.operation, invalidation.dependencies))

    label = Label.objects.create(text="a")
    list(Label.objects.all())
    cache_invalidated.connect(receive)
    try:
        label.text = "b"
        label.save()
    finally:
        cache_invalidated.disconnect(receive)
    assert [each[:3] for each in found] == [(Label, "a", "save"), (Label, "b", "save")]
    assert found[0][3]


def test_invalidate_all_is_told():
    with activity.collect() as work:
        invalidate_all()
    assert [each.operation for each in work.invalidations] == ["invalidate_all"]


def test_coroutines_are_collected_with_the_threads_that_they_start():
    async def work():
        with activity.collect() as collected:
            await Label.objects.acount()
            await sync_to_async(lambda: list(Label.objects.all()))()
        return collected

    assert [each.operation for each in async_to_sync(work)().decisions] == ["count", "fetch"]


def test_two_pieces_of_work_are_collected_apart():
    with activity.collect() as outer:
        Label.objects.count()
        with activity.collect() as inner:
            Label.objects.exists()
    assert [each.operation for each in inner.decisions] == ["exists"]
    assert [each.operation for each in outer.decisions] == ["count"]


def test_nothing_is_recorded_while_nobody_collects():
    with activity.collect():
        assert decisions.is_observed()
        assert invalidations.is_observed()
    assert not decisions.is_observed()
    assert not invalidations.is_observed()
    list(Label.objects.all())
    assert not activity._reads
