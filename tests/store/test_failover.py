"""Sentinel makes a replica the master while the site reads and writes."""

import threading
import time
from contextlib import suppress

import pytest
import redis
from django.db import connections
from django.test import override_settings

from cacheops_lite.store import circuit_breaker
from tests.shop.models import Category
from tests.support import servers, services
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="a failover does not depend on the database"),
]

LIBRARIES = {"redis-py": None, "valkey-py": "valkey.Valkey"}
READERS = 2


@pytest.fixture(params=LIBRARIES)
def site(request, tmp_path, settings, monkeypatch):
    """A master, a replica and a sentinel, which the cache asks for the master."""
    if LIBRARIES[request.param]:
        pytest.importorskip("valkey")
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 0.1)
    with servers.running() as master, servers.running("--replicaof", "127.0.0.1", str(master.port)) as replica:
        assert wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        with servers.sentinel(tmp_path, master) as options:
            settings.CACHEOPS_DEGRADE_ON_FAILURE = True
            with override_settings(
                CACHEOPS_REDIS={}, CACHEOPS_SENTINEL=options, CACHEOPS_CLIENT_CLASS=LIBRARIES[request.param]
            ):
                yield master, replica, redis.Redis(port=options["locations"][0][1])


class Load:
    """Threads that count a name up and read it, and note whether a read is older than the last commit before it."""

    def __init__(self):
        self.committed, self.reads, self.stale, self.errors = 0, 0, [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(self._write, 0.02))]
        self._threads += [threading.Thread(target=self._run, args=(self._read, 0.002)) for _ in range(READERS)]

    def _run(self, step, pause):
        try:
            while not self._stop.wait(pause):
                try:
                    step()
                except Exception as error:
                    self.errors.append(error)
        finally:
            connections.close_all()

    def _write(self):
        category = Category.objects.nocache().get()
        category.name = str(self.committed + 1)
        category.save()
        self.committed += 1

    def _read(self):
        before = self.committed
        found = int(Category.objects.get().name)
        self.reads += 1
        if found < before:
            self.stale.append((time.monotonic(), before, found))

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for each in self._threads:
            each.join(30)


def force_failover(sentinel):
    """Sentinel refuses as long as it does not know the replica well."""

    def begin():
        with suppress(redis.ResponseError):
            return sentinel.execute_command("SENTINEL", "FAILOVER", "mymaster")
        return False

    assert wait_until(begin, seconds=30)


def role(server):
    with suppress(redis.RedisError):
        return server.client().info("replication")["role"]
    return None


def test_a_forced_failover_leaves_nothing_stale(site, is_hit):
    """Afterwards reads hit again, on the new master."""
    master, replica, sentinel = site
    Category.objects.create(name="0")
    with Load() as load:
        assert wait_until(lambda: load.committed > 20)
        force_failover(sentinel)
        assert wait_until(lambda: role(replica) == "master" and role(master) == "slave", seconds=60)
        switched, reads = time.monotonic(), load.reads
        assert wait_until(lambda: load.reads > reads + 100 and time.monotonic() > switched + 2)
    assert not [each for each in load.stale if each[0] > switched], load.stale
    assert not load.errors
    assert int(Category.objects.get().name) == load.committed
    assert wait_until(lambda: is_hit(Category.objects.get))
    assert replica.client().dbsize()
