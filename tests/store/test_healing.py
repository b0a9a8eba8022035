"""Once Redis is back, nothing is stale half a second later, although the process that wrote meanwhile is idle."""

import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.test import override_settings

from cacheops_lite.store import pending_releases
from tests.shop.models import Product
from tests.support import failures, processes
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
ROWS = 20
# After Redis is back.
HEALED_SECONDS = 0.5


@contextmanager
def using(port, degrades):
    with override_settings(
        CACHEOPS_REDIS={"host": "127.0.0.1", "port": port},
        CACHEOPS_CLIENT_CLASS=None,
        CACHEOPS_REDIS_TIMEOUT=1.0,
        CACHEOPS_DEGRADE_ON_FAILURE=degrades,
    ):
        yield


def write_when_told(port, degrades, orders, done):
    """Write the text of each order to all rows, one by one, and report that it is committed."""
    with using(port, degrades):
        while (text := orders.get()) is not None:
            for product in Product.objects.nocache().order_by("pk"):
                product.name = text
                product.save()
            done.put(text)


@pytest.fixture(params=[False, True], ids=["raising", "degrading"])
def degrades(request):
    return request.param


@pytest.fixture
def write(proxy, degrades):
    """A function that lets another process, which reaches Redis through the proxy, write a text to all rows."""
    Product.objects.bulk_create([Product(sku=str(number), name="first") for number in range(ROWS)])
    orders, done = processes.context.Queue(), processes.context.Queue()
    process = processes.start(write_when_told, proxy.port, degrades, orders, done)

    def write(text, while_it_writes=None):
        orders.put(text)
        while while_it_writes and done.empty():
            while_it_writes()
        assert done.get(timeout=processes.PATIENCE) == text

    write("old")
    yield write
    orders.put(None)
    assert processes.ended(process) == [0]


def names():
    """Read the name of each row by a query of its own."""
    return [Product.objects.get(pk=pk).name for pk in Product.objects.nocache().values_list("pk", flat=True)]


def count_stale(text):
    return sum(each != text for each in names())


@pytest.mark.parametrize("seconds", [0.3, 1.2, 3.5])
def test_nothing_is_stale_half_a_second_after_a_cut(server, proxy, write, degrades, seconds):
    with using(server.port, degrades):
        assert count_stale("old") == count_stale("old") == 0
        proxy.cut()
        began = time.monotonic()
        write("new")
        assert count_stale("new") == ROWS, "this process reaches Redis, so it cannot know better"
        time.sleep(max(0, began + seconds - time.monotonic()))
        proxy.restore()
        time.sleep(HEALED_SECONDS)
        assert count_stale("new") == 0


@pytest.mark.parametrize("seconds", [0.3, 1.2, 3.5])
def test_nothing_is_stale_half_a_second_after_redis_hung(server, write, degrades, seconds):
    with using(server.port, degrades):
        assert count_stale("old") == count_stale("old") == 0
        began = time.monotonic()
        with failures.hanging(server):
            write("new")
            time.sleep(max(0, began + seconds - time.monotonic()))
        time.sleep(HEALED_SECONDS)
        assert count_stale("new") == 0


def test_nothing_is_stale_half_a_second_after_connections_were_reset(server, proxy, write, degrades):
    """Connections break in the middle of requests and of replies."""
    with using(server.port, degrades):
        for number in range(5):
            assert count_stale(f"{number - 1}" if number else "old") == 0

            def reset():
                names()
                proxy.reset()

            write(str(number), reset)
            time.sleep(HEALED_SECONDS)
            assert count_stale(str(number)) == 0


def test_nothing_is_stale_half_a_second_after_permissions_are_back(server, write, degrades):
    """What Redis refuses by its ACL is tried as often as what did not reach it."""
    with using(server.port, degrades):
        names()
        assert names() == ["old"] * ROWS
        with failures.without_permissions(server):
            write("new")
            # Pauses between attempts grow.
            time.sleep(2.5)
        time.sleep(HEALED_SECONDS)
        assert names() == ["new"] * ROWS


def test_a_fence_that_a_server_places_only_when_it_resumes_is_released(server, is_hit, monkeypatch):
    """Also if the request has waited in the server for longer than a fence lasts."""
    Product.objects.create(sku="s", name="old")
    product = Product.objects.nocache().get()
    with using(server.port, degrades=True):
        # From now on Redis knows the script.
        product.name = "older"
        product.save()
        Product.objects.get()
        with failures.hanging(server):
            product.name = "new"
            product.save()
            monkeypatch.setattr(pending_releases, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 60))
            # Attempts while the server hangs might forget the fence.
            wait_until(lambda: not pending_releases._pending, seconds=1)
        assert wait_until(lambda: is_hit(Product.objects.get), seconds=10)
        assert Product.objects.get().name == "new"


def test_of_releases_that_expired_in_an_outage_only_some_are_kept(monkeypatch):
    """A long outage must not fill the memory of a process that writes; what has not expired is kept in any case."""
    monkeypatch.setattr(pending_releases, "MAX_PENDING", 3)
    monkeypatch.setattr(pending_releases, "_pending", {})
    monkeypatch.setattr(pending_releases._retry, "start", lambda: None)
    pending_releases.schedule(["lasting"], "token", 60)
    pending_releases.schedule([f"expired {number}" for number in range(9)], "token", -1)
    assert [key for key, _ in pending_releases._pending] == ["lasting", "expired 6", "expired 7", "expired 8"]
