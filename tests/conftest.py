"""Fixtures: the store in both modes and on both kinds of Redis, and a header that names the services of the run."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import closing, contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from fakeredis import FakeRedis

from cacheops_lite.functions import redis_cache
from cacheops_lite.functions.filesystem_cache import FileCache
from cacheops_lite.signals import cache_decision, cache_read
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import compression, counter_flush, database_names, server_epoch
from cacheops_lite.store.client import get_client
from cacheops_lite.utils import error_boundary
from tests.support import background, emptying, fast_paths, servers, services
from tests.support.proxy import Proxy

# Projects with tests of their own, which other tests run.
collect_ignore = ["projects"]
FLAVOURS = {
    "redis": {"CACHEOPS_REDIS": services.REDIS_URL, "CACHEOPS_CLIENT_CLASS": services.CLIENT_CLASS},
    "embedded": {"CACHEOPS_REDIS": {}, "CACHEOPS_CLIENT_CLASS": "fakeredis.FakeRedis"},
}
MODES = {"sets": {"CACHEOPS_INSIDEOUT": False}, "insideout": {"CACHEOPS_INSIDEOUT": True}}
STORES = [f"{flavour}-{mode}" for flavour in FLAVOURS for mode in MODES]
# TEST_STORES selects some of them, for runs whose tests use all stores elsewhere.
STORES = [store for store in STORES if store in os.environ.get("TEST_STORES", " ".join(STORES)).split()]


def pytest_configure(config):
    if os.environ.get("TEST_FAST_PATHS") == "off":
        fast_paths.switch(False)


def pytest_report_header(config):
    redis = services.REDIS_URL if services.redis_answers() else "none found: embedded only"
    return f"cacheops_lite: database {services.DATABASE}, Redis {redis}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Create the test databases, whose tables are emptied without TRUNCATE after each test."""
    database_names.remember_configured()
    with django_db_blocker.unblock():
        for each in connections.all():
            if not each.settings_dict["TEST"].get("MIRROR"):
                emptying.learn(each)


@pytest.fixture(scope="session", autouse=True)
def counters_without_thread():
    """Counters reach Redis only where a test flushes them: others count keys."""
    counter_flush.FLUSH_SECONDS = 1e6


@pytest.fixture(scope="session", autouse=True)
def servers_are_checked_once():
    """A check moves a clock in Redis on: other tests count keys and commands."""
    server_epoch.CHECK_SECONDS = 1e6


@pytest.fixture(autouse=True)
def forget_logged_call_sites():
    """Log again in each test what is logged once per call site."""
    error_boundary._reported.clear()


@pytest.fixture(autouse=True)
def no_language_left():
    """A middleware activates one and leaves it to the next request."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def no_background_deliveries_left():
    """What a test could not deliver is not delivered during later tests, which count messages and commands."""
    yield
    background.end_deliveries()


@pytest.fixture(params=STORES)
def store(request):
    """An empty store of each kind; without Redis it skips the test on a laptop and fails in CI."""
    flavour, mode = request.param.split("-")
    if flavour == "redis" and not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    with override_settings(**FLAVOURS[flavour], **MODES[mode]):
        client = cacheops_redis.get_client()
        client.flushdb()
        compression.forget()
        yield client
        client.flushdb()


@pytest.fixture
def separate_store(store):
    """A store on a server of its own, for tests that change the whole server: other runs would lose their commands."""
    if isinstance(store, FakeRedis):
        yield store
        return
    with servers.running() as server, override_settings(CACHEOPS_REDIS=server.url):
        yield cacheops_redis.get_client()


@pytest.fixture(scope="module")
def own_server():
    """A Redis server that the tests of a module share, and nobody else uses."""
    with servers.running() as running:
        yield running


@pytest.fixture
def server():
    """A Redis server on its own."""
    with servers.running() as running:
        yield running


@pytest.fixture
def proxy(server):
    """A proxy before that server."""
    with closing(Proxy(server.port)) as proxy:
        yield proxy


@pytest.fixture
def populated(store):
    """The first rows of random histories."""
    # The models are not loaded when this file is imported.
    from tests.property import population

    population.populate()
    yield
    population.drop_views()


@pytest.fixture(params=["redis", "embedded", "file"])
def cache(request, tmp_path):
    """An empty cache of each kind."""
    with cache_of_kind(request.param, tmp_path) as empty:
        yield empty


@contextmanager
def cache_of_kind(kind, tmp_path):
    """Yield an empty cache: in Redis, in the embedded Redis or in files."""
    if kind == "file":
        yield FileCache(tmp_path / "cache")
        return
    if kind == "redis" and not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    with override_settings(**FLAVOURS[kind]):
        get_client().flushdb()
        yield redis_cache.cache
        get_client().flushdb()


def in_thread(function):
    """Call `function` in another thread with its own connections, and return its result."""
    result = []

    def run():
        try:
            result.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert result, "the thread did not finish"
    return result[0]


class Reads:
    """Counts hits and misses."""

    def __init__(self):
        self.hits = self.misses = 0

    def note(self, sender, func, hit, **kwargs):
        if hit:
            self.hits += 1
        else:
            self.misses += 1


def run_async(coroutine):
    """Run a coroutine and close the connections of the thread that its ORM calls ran in."""

    async def run():
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(run())


@contextmanager
def counted_reads():
    reads = Reads()
    cache_read.connect(reads.note)
    try:
        yield reads
    finally:
        cache_read.disconnect(reads.note)


@pytest.fixture
def reads():
    """Count hits and misses from the beginning of the test."""
    with counted_reads() as counted:
        yield counted


def decided(read):
    """Return what was decided about each read of a callable, for messages."""
    found = []

    def note(sender, decision, **kwargs):
        found.append(f"{decision.reason} {decision.detail}")

    cache_decision.connect(note)
    try:
        read()
    finally:
        cache_decision.disconnect(note)
    return found


@pytest.fixture
def is_hit():
    """Return a function that returns whether all reads of a callable are hits."""

    def check(read):
        with counted_reads() as counted:
            read()
        assert counted.hits + counted.misses, f"it does not read through the cache at all: {decided(read)}"
        return not counted.misses

    return check


@pytest.fixture
def queries():
    """Capture SQL queries: ``with queries() as found: ...; len(found)``."""
    return lambda: CaptureQueriesContext(connection)
