"""Before-image reads lock only rows that the write itself locks, and not earlier, so they cause no deadlocks."""

import threading

import pytest
from django.db import connection, connections, transaction

from cacheops_lite.signals import cache_invalidated
from tests.rich import models as rich
from tests.shop.models import Label, Product, Warranty

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("store"),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="it locks no rows"),
]


def run_in_threads(*functions):
    """Run each function in its own thread and return the exceptions."""
    errors = []

    def run(function):
        try:
            function()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(each,)) for each in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


def wait_for_a_lock():
    """Wait until another session waits for a lock, or until two seconds have passed."""
    seen = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }[connection.vendor]
    for _ in range(100):
        with connection.cursor() as cursor:
            cursor.execute(seen)
            if cursor.fetchone()[0]:
                return
        threading.Event().wait(0.02)


def test_a_cascade_locks_children_before_parents():
    """Django deletes in this order, so a writer that changes a child and then its parent does not deadlock with a
    delete.
    """
    product = Product.objects.create(sku="a", name="x")
    warranty = Warranty.objects.create(product=product, months=1)
    list(Product.objects.filter(name="x")), list(Warranty.objects.filter(months=1))
    child_is_written = threading.Event()

    def write():
        with transaction.atomic():
            Warranty.objects.filter(pk=warranty.pk).update(months=2)
            child_is_written.set()
            wait_for_a_lock()
            Product.objects.filter(pk=product.pk).update(views=3)

    def delete():
        child_is_written.wait(5)
        Product.objects.nocache().get(pk=product.pk).delete()

    assert run_in_threads(write, delete) == []
    assert not list(Product.objects.filter(name="x"))
    assert not list(Warranty.objects.filter(months=1))


@pytest.mark.parametrize("write", ["save", "update"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_write_of_a_child_column_does_not_lock_the_parent_row(write, is_known):
    """This holds if cached queries have conditions on the parent, and if the dependency shapes are unknown."""
    venue = rich.Venue.objects.create(name="v", seats=1)
    label = Label.objects.create(text="l")
    if is_known:
        list(rich.Place.objects.filter(name="v"))
    list(rich.Venue.objects.filter(seats=1))
    parent_is_written = threading.Event()

    def write_parent():
        place = rich.Place.objects.nocache().get(pk=venue.pk)
        with transaction.atomic():
            place.area = 5
            place.save()
            parent_is_written.set()
            wait_for_a_lock()
            Label.objects.filter(pk=label.pk).update(text="m")

    def write_child():
        parent_is_written.wait(5)
        found = rich.Venue.objects.nocache().get(pk=venue.pk)
        with transaction.atomic():
            Label.objects.filter(pk=label.pk).update(text="n")
            if write == "save":
                found.seats = 7
                found.save(update_fields=["seats"])
            else:
                rich.Venue.objects.filter(pk=found.pk).update(seats=7)

    assert run_in_threads(write_parent, write_child) == []
    assert not list(rich.Venue.objects.filter(seats=1))


@pytest.mark.skipif(connection.vendor != "mysql", reason="it has no gap locks")
@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_an_insert_with_a_primary_key_takes_no_gap_lock(monkeypatch, level):
    """There is no row to read before the insert."""
    owners = [rich.Owner.objects.create(name=str(n), code=str(n)) for n in range(2)]
    read = lambda: rich.Badge.objects.filter(color="x").count()
    assert read() == 0
    barrier = threading.Barrier(2)

    def create(owner):
        with transaction.atomic():
            assert connection.isolation_level == level
            barrier.wait(5)
            rich.Badge.objects.create(owner=owner, color="x")

    options = connections.settings["default"].setdefault("OPTIONS", {})
    monkeypatch.setitem(options, "isolation_level", level)
    assert run_in_threads(*(lambda owner=owner: create(owner) for owner in owners)) == []
    assert read() == 2


def test_receivers_get_all_columns_of_a_multi_table_row():
    """They get the columns of all its tables, even of tables whose rows the write itself does not lock."""
    venue, received = rich.Venue.objects.create(name="v", seats=1), []
    receiver = lambda sender, obj_dict, **kwargs: received.append(obj_dict)
    cache_invalidated.connect(receiver, sender=rich.Venue)
    try:
        venue.seats = 2
        venue.save(update_fields=["seats"])
    finally:
        cache_invalidated.disconnect(receiver, sender=rich.Venue)
    assert [(each["name"], each["seats"]) for each in received] == [("v", 1), ("v", 2)]
