"""Counters of all processes add up to what happened."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from django.db import connection
from django.test import override_settings

from cacheops_lite import cached_as
from cacheops_lite.inspection import over_time, statistics
from cacheops_lite.observe import counters
from cacheops_lite.store import counter_flush
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_counted(store):
    counters.take()
    yield
    counters.take()


def of(label, operation):
    (found,) = [each for each in statistics().reads if (each.label, each.operation) == (label, operation)]
    return found


def test_reads_are_counted_by_model_operation_and_reason():
    Label.objects.create(text="a")
    for _ in range(3):
        Label.objects.get(text="a")
        Label.objects.count()
    list(Label.objects.nocache())
    found = of("shop.Label", "count")
    assert (found.hits, found.misses, found.bypasses, found.hit_rate) == (2, 1, 0, 2 / 3)
    assert found.reasons == {"not-stored": 1}
    assert found.compute_seconds > 0
    assert of("shop.Label", "fetch").reasons["nocache"] == 1


def test_a_joined_model_without_a_profile_is_named():
    with override_settings(CACHEOPS={"shop.product": {"ops": "all", "timeout": 60}}):
        list(Product.objects.select_related("category"))
        list(Category.objects.all())
    assert of("shop.Product", "fetch").details == {"shop.Category": 1}
    assert of("shop.Category", "fetch").reasons == {"no-profile": 1}


def test_functions_are_counted_by_their_names():
    @cached_as(Label)
    def total():
        return 1

    total(), total()
    found = of(f"{__name__}.{total.__qualname__}", "call")
    assert (found.hits, found.misses) == (1, 1)


def test_writes_and_what_they_invalidate_are_counted():
    label = Label.objects.create(text="a")
    list(Label.objects.all())
    label.text = "b"
    label.save()
    (found,) = [each for each in statistics().writes if each.label == "shop.Label"]
    assert found.writes == 2
    assert found.invalidations > 0


def test_a_flush_that_fails_loses_nothing(monkeypatch):
    Label.objects.count()
    with monkeypatch.context() as patch:
        patch.setattr(counter_flush, "client_for", lambda key: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            counter_flush.flush()
    assert of("shop.Label", "count").misses == 1


def test_counts_of_several_threads_add_up():
    Label.objects.count()

    def read(_):
        try:
            for _ in range(50):
                Label.objects.count()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert of("shop.Label", "count").hits == 200


def test_counts_of_several_processes_add_up(store):
    """A child does not send what its parent counted."""
    if type(store).__module__.startswith("fakeredis"):
        pytest.skip("the embedded store belongs to one process")
    counters.note("shop.Label", "count", counters.Reason.HIT)
    child = multiprocessing.get_context("fork").Process(target=_count_in_child)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert of("shop.Label", "count").hits == 2


def _count_in_child():
    counters.note("shop.Label", "count", counters.Reason.HIT)
    counter_flush.flush()


def test_nothing_is_counted_while_statistics_are_off(store):
    with override_settings(CACHEOPS_STATS=False):
        Label.objects.count(), list(Label.objects.nocache()), Label.objects.create(text="a")
        assert not counters.take()
    assert not statistics().reads


def test_counters_are_kept_by_the_minute_for_a_day(store, monkeypatch):
    Label.objects.count()
    counter_flush.flush()
    (key,) = [key for key in store.scan_iter() if b"cacheops:n:" in key]
    assert 24 * 3600 - 5 < store.ttl(key) <= 24 * 3600 + 60
    clock = time.time
    monkeypatch.setattr(counter_flush.time, "time", lambda: clock() + 120)
    Label.objects.count()
    moments = over_time(5)
    assert [(each.hits, each.misses) for each in moments] == [(0, 0), (0, 0), (0, 1), (0, 0), (1, 0)]
    assert [after.time - before.time for before, after in pairwise(moments)] == [60] * 4


def test_the_thread_flushes_after_a_while(store, monkeypatch):
    """It is started by the first count, and ends."""
    monkeypatch.setattr(counter_flush, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(counter_flush, "_thread", None)
    Label.objects.count()
    deadline = time.monotonic() + 20
    while not any(b"cacheops:n:" in key for key in store.scan_iter()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert of("shop.Label", "count").misses == 1
