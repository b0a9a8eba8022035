"""Fixtures for tests of the store."""

import pytest
from django.test import override_settings

from cacheops_lite import invalidate_all
from cacheops_lite.store import circuit_breaker, near_leases, redis_connection, spool, spool_watch
from cacheops_lite.utils import error_boundary
from cacheops_lite.writes import write_barrier
from tests.support import cluster as clusters
from tests.support import servers
from tests.support.proxy import Proxy


@pytest.fixture(scope="module")
def three_nodes():
    """A cluster of three nodes; a test that changes it restores it."""
    with clusters.running() as running:
        yield running


@pytest.fixture
def cluster(request, three_nodes, monkeypatch):
    """That cluster, empty, which the settings name.

    A parameter is the client library.  Of "traced", each command is seen by a tool that traces redis-py.
    """
    library = getattr(request, "param", "redis")
    if library == "valkey":
        pytest.importorskip("valkey")
    if library == "traced":
        monkeypatch.setattr(redis_connection, "is_instrumented", lambda client: True)
    url = three_nodes.url.replace("redis", "valkey") if library == "valkey" else three_nodes.url
    with override_settings(CACHEOPS_REDIS=url, CACHEOPS_CLIENT_CLASS=None):
        invalidate_all()
        yield three_nodes
        invalidate_all()


@pytest.fixture
def around_commit(monkeypatch):
    """Call a function with whether the fenced write is committed: after the fence is set, and before delivery."""

    def arrange(function):
        fence, deliver, fences_set = write_barrier.invalidate_and_fence, write_barrier.deliver_logging_errors, []

        def fencing(work, fence_of_work):
            fence(work, fence_of_work)
            fences_set.append(fence_of_work)
            function(False)

        def delivering(*args):
            if fences_set:
                function(True)
            deliver(*args)

        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.invalidate_and_fence", fencing)
        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.deliver_logging_errors", delivering)

    return arrange


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "spool")


@pytest.fixture
def redis_with_spool(folder, monkeypatch):
    """A Redis that a test can cut off; each use of the cache looks for files of dead processes."""
    from tests.support.spools import forget_debts, using

    monkeypatch.setattr(spool, "LOOK_SECONDS", 0)
    # Each call tries Redis.
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 1e-9)
    error_boundary._reported.clear()
    with servers.running() as server, Proxy(server.port) as proxy, using(proxy.port, folder):
        proxy.server = server
        yield proxy
        forget_debts()
        # Processes that were killed leave it.
        spool_watch.lock_path().unlink(missing_ok=True)


@pytest.fixture
def cached_label(redis_with_spool):
    # The models are not loaded when this file is imported.
    from tests.shop.models import Label, Product
    from tests.support.spools import texts

    label = Label.objects.create(text="old")
    Product.objects.create(sku="pen", name="pen")
    for _ in range(2):
        assert texts() == ["old"]
    return label


@pytest.fixture
def slept(monkeypatch):
    """The seconds that writers waited for near caches."""
    waits = []
    monkeypatch.setattr(near_leases.time, "sleep", waits.append)
    return waits
