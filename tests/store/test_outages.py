"""Redis away: nothing that was committed stays stale, and with CACHEOPS_DEGRADE_ON_FAILURE nothing breaks."""

import logging
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import redis
from django.db import connection, transaction
from django.test import override_settings
from redis import exceptions

from cacheops_lite import CacheMiss, cache, cached, cached_as, invalidate_all, invalidate_obj
from cacheops_lite.store import background_retry, circuit_breaker, invalidator, local_cache
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client, run_script
from cacheops_lite.store.protocol import MISS
from cacheops_lite.store.write_set import MAX_CHANGES_PER_TABLE, Change, WriteSet
from tests.conftest import run_async
from tests.shop.models import Label, Product
from tests.support import servers

pytestmark = pytest.mark.django_db(transaction=True)

QUICKLY = {"socket_connect_timeout": 0.2, "socket_timeout": 0.2, "retry": None}


@pytest.fixture(params=[False, True], ids=["sets", "insideout"])
def server(request):
    """A Redis server of the test's own, which the cache uses."""
    with servers.running() as server, using(server.port), override_settings(CACHEOPS_INSIDEOUT=request.param):
        yield server
        forget_what_is_overdue()


@contextmanager
def using(port, **options):
    with override_settings(CACHEOPS_REDIS={"port": port, **QUICKLY, **options}, CACHEOPS_CLIENT_CLASS=None):
        yield


@pytest.fixture
def degrading():
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        yield


@pytest.fixture
def at_once(monkeypatch):
    """No pauses: each call tries Redis."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 1e-9)


@pytest.fixture
def no_courier(monkeypatch):
    """Nothing is delivered in the background."""
    monkeypatch.setattr(background_retry, "Thread", Nobody)


class Nobody:
    def __init__(self, **kwargs):
        pass

    def start(self):
        pass

    def is_alive(self):
        return False


def forget_what_is_overdue():
    with invalidator._delivery_lock, invalidator._state_lock:
        invalidator._overdue.clear()


@pytest.fixture
def pen():
    return Product.objects.create(sku="pen", name="pen")


def names():
    return list(Product.objects.order_by("name").values_list("name", flat=True))


WRITES = {
    "save": lambda pen: pen.save(),
    "update": lambda pen: Product.objects.update(name=pen.name),
    "invalidated_update": lambda pen: Product.objects.invalidated_update(name=pen.name),
    "bulk_update": lambda pen: Product.objects.bulk_update([pen], ["name"]),
    "delete and create": lambda pen: (pen.delete(), Product.objects.create(sku="new", name=pen.name)),
    "bulk_create": lambda pen: (Product.objects.all().delete(), Product.objects.bulk_create([pen])),
    "raw": lambda pen: connection.cursor().execute("UPDATE shop_product SET name = %s", [pen.name]),
}


@pytest.mark.parametrize("in_atomic", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_while_redis_is_away_is_not_stale_later(
    server, degrading, at_once, no_courier, pen, write, in_atomic
):
    """The data in Redis are still there: they fall before this process reads them."""
    assert names() == names() == ["pen"]
    pen.name = "quill"
    with using(servers.free_port()):
        if in_atomic:
            with transaction.atomic():
                WRITES[write](pen)
        else:
            WRITES[write](pen)
        assert names() == ["quill"]
    assert names() == ["quill"]
    assert names() == ["quill"]


@pytest.mark.parametrize("write", WRITES)
def test_nobody_else_reads_what_is_stale_for_long(server, degrading, pen, write):
    """What could not be delivered is so in the background, if this process does nothing more."""
    names()
    value = next(key for key in server.client().scan_iter("cacheops:v:*"))
    registry = server.client().keys("cacheops:t:*") + server.client().keys("cacheops:d:*")
    assert value
    assert registry
    pen.name = "quill"
    with using(servers.free_port()):
        WRITES[write](pen)
        assert invalidator._overdue
    for _ in range(500):
        if not (invalidator._overdue or invalidator._in_delivery):
            break
        time.sleep(0.02)
    assert not invalidator._overdue
    assert not set(registry) <= set(server.client().keys())


def test_reads_and_writes_go_on_without_redis(server, degrading, pen):
    """Of every kind, sync and async, and what they do is right."""
    server.stop()
    func = cached_as(Product)(lambda: len(names()))
    locked = cached_as(Product, lock=True)(lambda: len(names()))
    assert (func(), locked()) == (1, 1)
    pen.name = "quill"
    pen.save()
    assert names() == ["quill"]
    assert Product.objects.get(pk=pen.pk).name == "quill"
    assert Product.objects.cache(lock=True).count() == 1
    assert Product.objects.exists()
    pen.delete()
    assert names() == []
    assert (func(), locked()) == (0, 0)
    invalidate_all()

    @cached_as(Product, lock=True)
    async def afunc():
        return await Product.objects.acount()

    assert run_async(afunc()) == 0


def test_a_restart_of_redis_is_survived(server, degrading, at_once, pen):
    """It comes back empty, and the cache works again."""
    names()
    server.stop()
    Product.objects.update(name="quill")
    assert names() == ["quill"]
    server.start()
    assert names() == names() == ["quill"]
    assert server.client().keys("cacheops:v:*")


def test_the_simple_cache_goes_on_without_redis(server, degrading, at_once, no_courier):
    """Nothing is found; and what was replaced or deleted meanwhile is not found later."""
    cache.set("a", 1, 60)
    cache.set("b", 1, 60)
    cache.set("c", 1, 60)
    calls = []
    func = cached(timeout=60)(lambda: calls.append(1) or len(calls))
    assert func() == 1
    with using(servers.free_port()):
        with pytest.raises(CacheMiss):
            cache.get("c")
        cache.set("a", 2, 60)
        assert not cache.delete("b")
        assert cache.get_or_set("c", 5) == 5
        assert func() == 2
        func.invalidate()
    assert cache.get("a", None) is None
    assert cache.get("b", None) is None
    assert func() == 3
    with using(servers.free_port()):
        cache.clear()
    assert func() == 4


def test_one_call_waits_for_redis_not_each(degrading, pen):
    """Without an answer, a page of many queries waits for one timeout or two."""
    silence = servers.Silence()
    try:
        with using(silence.port):
            for _ in range(30):
                assert names() == ["pen"]
        assert len(silence.accepted) <= 2
    finally:
        silence.close()
        forget_what_is_overdue()


def test_by_default_a_read_says_that_redis_is_away(pen):
    """Whoever does not ask for more gets the error."""
    with using(servers.free_port()), pytest.raises(redis.ConnectionError):
        names()


@pytest.mark.parametrize("write", WRITES)
def test_by_default_a_write_in_autocommit_is_no_error(server, no_courier, pen, write, caplog):
    """It is done and logged, and the next read finds it."""
    assert names() == ["pen"]
    pen.name = "quill"
    with using(servers.free_port()):
        WRITES[write](pen)
    assert "Can't invalidate" in caplog.text
    assert names() == ["quill"]


def test_by_default_a_committed_write_is_no_error(server, no_courier, pen, caplog):
    """It is logged; everybody's callbacks are called, and the next read finds what was written."""
    assert names() == ["pen"]
    done = []
    with using(servers.free_port()):
        with transaction.atomic():
            transaction.on_commit(lambda: done.append("before"))
            pen.name = "quill"
            pen.save()
            transaction.on_commit(lambda: done.append("after"))
        assert "Can't invalidate" in caplog.text
        with pytest.raises(redis.ConnectionError):
            names()
    assert done == ["before", "after"]
    assert names() == ["quill"]


def test_by_default_invalidation_by_hand_says_that_redis_is_away(server, no_courier, pen):
    """And is done later all the same."""
    func = cached_as(Label)(lambda: object())
    first = func()
    for invalidate in (lambda: invalidate_obj(Label(pk=1)), invalidate_all):
        with using(servers.free_port()), pytest.raises(redis.ConnectionError):
            invalidate()
        second = func()
        assert second is not first
        first = second


def test_the_policy_follows_the_settings_at_once(pen):
    """Also within a test that overrides them."""
    with using(servers.free_port()):
        for degrade in (False, True, False):
            with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrade):
                if degrade:
                    assert names() == ["pen"]
                else:
                    with pytest.raises(redis.ConnectionError):
                        names()


def test_a_full_redis_keeps_nothing_and_breaks_nothing(degrading, at_once, pen):
    """It still forgets what was written."""
    with servers.running("--maxmemory-policy", "noeviction") as server, using(server.port):
        assert names() == names() == ["pen"]
        server.client().config_set("maxmemory", 1)
        assert Product.objects.count() == Product.objects.count() == 1
        Product.objects.update(name="quill")
        assert names() == ["quill"]
        cache.set("key", 1)
        assert cache.get("key", None) is None
        server.client().config_set("maxmemory", 0)
        assert names() == names() == ["quill"]
        forget_what_is_overdue()


def test_a_read_only_redis_is_not_read_while_invalidations_wait(server, degrading, at_once, no_courier, pen):
    """As after a failover: what it holds is stale until they are delivered."""
    assert names() == names() == ["pen"]
    server.client().replicaof("127.0.0.1", servers.free_port())
    Product.objects.update(name="quill")
    assert names() == ["quill"]
    server.client().replicaof("NO", "ONE")
    assert names() == names() == ["quill"]


AWAY = [
    redis.ConnectionError(),
    redis.TimeoutError(),
    exceptions.BusyLoadingError(),
    exceptions.ReadOnlyError(),
    exceptions.OutOfMemoryError(),
    exceptions.MovedError("1 127.0.0.1:1"),
    exceptions.ClusterDownError("CLUSTERDOWN"),
    exceptions.TryAgainError(),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("command", ["MGET", "EVALSHA"])
def test_whatever_says_that_redis_is_away_is_forgiven(
    server, degrading, at_once, no_courier, pen, monkeypatch, error, command
):
    """At every step of a read, and of a write."""
    names()
    client = get_client()
    execute = client.execute_command

    def failing(*args, **options):
        if args[0] == command:
            raise error
        return execute(*args, **options)

    monkeypatch.setattr(client, "execute_command", failing)
    assert names() == ["pen"]
    assert Product.objects.cache(lock=True).count() == 1
    pen.name = "quill"
    pen.save()
    assert names() == ["quill"]
    monkeypatch.undo()
    assert names() == ["quill"]


def test_other_errors_are_not_forgiven(server, degrading, pen, monkeypatch):
    """They tell of mistakes."""

    def failing(*args, **options):
        raise exceptions.NoPermissionError("no permission to run MGET")

    monkeypatch.setattr(get_client(), "execute_command", failing)
    with pytest.raises(exceptions.NoPermissionError):
        names()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have(server, pen, monkeypatch):
    """It is forked while other threads are within locks, and does itself what they were at."""
    names()
    work = {"": WriteSet(tables={"shop_product"})}
    invalidator._in_delivery.update(work)
    held = [
        invalidator._delivery_lock,
        invalidator._state_lock,
        local_cache._lock,
        circuit_breaker.breaker.lock,
        cacheops_redis._lock,
    ]
    try:
        with holding(held):
            monkeypatch.setattr(cacheops_redis, "_scripts", {})
            child = os.fork()
            if not child:
                with exiting():
                    assert local_cache.get("nothing") is MISS
                    assert run_script("release_fences", [], [""]) == 0
                    circuit_breaker.breaker.record_failure(redis.ConnectionError())
                    assert not circuit_breaker.breaker.allows_call()
                    assert invalidator.is_overdue()
                    invalidator.deliver_overdue()
                    assert not invalidator.is_overdue()
        assert os.waitpid(child, 0)[1] == 0
    finally:
        invalidator._in_delivery.clear()
    assert not get_client().keys("*t:shop_product")


@contextmanager
def holding(locks):
    """Another thread is within them."""
    has_them, may_go = threading.Event(), threading.Event()

    def hold():
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            has_them.set()
            may_go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert has_them.wait(20)
        yield
    finally:
        may_go.set()
        thread.join()


@contextmanager
def exiting():
    """The end of a child process: 0 if nothing was wrong; it does not wait long."""
    code = 1
    try:
        signal.alarm(5)
        yield
        code = 0
    finally:
        os._exit(code)


def test_what_waits_is_bounded(server, degrading, no_courier):
    """More changes than are sensible become whole tables, more keys everything."""
    with using(servers.free_port()):
        for start in range(0, 3000, 500):
            changes = [Change("t", {"a": str(number)}, None) for number in range(start, start + 500)]
            invalidator.postpone({"": WriteSet(changes=changes, signals=[(Label, None)])})
        waiting = invalidator._overdue[""]
        assert len(waiting.changes) <= MAX_CHANGES_PER_TABLE
        assert waiting.tables == {"t"}
        invalidator.postpone({"": WriteSet(keys={f"k{number}" for number in range(invalidator.MAX_OVERDUE_KEYS + 1)})})
        assert waiting.everything
        assert not waiting.signals
        assert not waiting.keys


def test_it_is_logged_once_that_redis_is_away_and_once_that_it_is_back(server, degrading, at_once, pen, caplog):
    """Not for each query."""
    caplog.set_level(logging.WARNING, "cacheops_lite")
    server.stop()
    for _ in range(5):
        names()
    server.start()
    for _ in range(5):
        names()
    said = [record.message.partition(",")[0] for record in caplog.records]
    assert said == ["Redis is away", "Redis is back"]


def test_a_breaker_lets_one_call_try_after_each_pause(monkeypatch):
    """Pauses double up to a bound, and success closes it."""
    now = [100.0]
    monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: now[0])
    breaker = circuit_breaker.CircuitBreaker()
    assert breaker.allows_call()
    pause = circuit_breaker.FIRST_PAUSE_SECONDS
    for _ in range(10):
        breaker.record_failure(redis.ConnectionError())
        assert not breaker.allows_call()
        now[0] += pause * 0.99
        assert not breaker.allows_call()
        now[0] += pause * 0.02
        assert [breaker.allows_call(), breaker.allows_call()] == [True, False]
        pause = min(pause * 2, circuit_breaker.MAX_PAUSE_SECONDS)
    breaker.close()
    assert [breaker.allows_call(), breaker.allows_call()] == [True, True]
