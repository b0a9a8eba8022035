"""Redis unreachable: nothing committed stays stale, and with CACHEOPS_DEGRADE_ON_FAILURE reads and writes work."""

import logging
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from redis import exceptions

from cacheops_lite import CacheMiss, cache, cached, cached_as, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.observe import Invalidation
from cacheops_lite.store import all_prefixes, background_retry, circuit_breaker, invalidator, near
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client, run_script
from cacheops_lite.store.write_set import MAX_CHANGES_PER_TABLE, MAX_OVERDUE_KEYS, Change, WriteSet
from tests.conftest import run_async
from tests.shop.models import Label, Product
from tests.support import background, servers

pytestmark = pytest.mark.django_db(transaction=True)

QUICKLY = {"socket_connect_timeout": 0.2, "socket_timeout": 0.2, "retry": None}


@pytest.fixture(params=[False, True], ids=["sets", "insideout"])
def server(request):
    """Start a Redis server for this test, which the cache uses."""
    with servers.running() as server, using_port(server.port), override_settings(CACHEOPS_INSIDEOUT=request.param):
        yield server


@contextmanager
def using_port(port, **options):
    with override_settings(CACHEOPS_REDIS={"port": port, **QUICKLY, **options}, CACHEOPS_CLIENT_CLASS=None):
        yield


@pytest.fixture
def degrading():
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        yield


@pytest.fixture
def without_pauses(monkeypatch):
    """Remove the pauses of the circuit breaker: each call tries Redis."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 1e-9)


@pytest.fixture
def no_background_retry(monkeypatch):
    """Start no background thread: nothing is delivered in the background."""
    monkeypatch.setattr(background_retry, "Thread", NoThread)


class NoThread:
    def __init__(self, **kwargs):
        pass

    def start(self):
        pass

    def is_alive(self):
        return False


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
def test_writes_during_an_outage_leave_nothing_stale(
    server, degrading, without_pauses, no_background_retry, pen, write, in_atomic
):
    """The data stay in Redis: they are invalidated before this process reads them."""
    assert names() == names() == ["pen"]
    pen.name = "quill"
    with using_port(servers.free_port()):
        if in_atomic:
            with transaction.atomic():
                WRITES[write](pen)
        else:
            WRITES[write](pen)
        assert names() == ["quill"]
    assert names() == ["quill"]
    assert names() == ["quill"]


@pytest.mark.parametrize("write", WRITES)
def test_undelivered_invalidations_are_delivered_in_the_background(server, degrading, pen, write):
    """They are delivered even if this process makes no further call, so that other processes do not read stale data."""
    names()
    value = next(key for key in server.client().scan_iter("*cacheops:v:*"))
    versions = server.client().keys("*cacheops:t:*") + server.client().keys("*cacheops:d:*")
    assert value
    assert versions
    pen.name = "quill"
    with using_port(servers.free_port()):
        WRITES[write](pen)
        assert invalidator._overdue
    for _ in range(500):
        if not (invalidator._overdue or invalidator._in_delivery):
            break
        time.sleep(0.02)
    assert not invalidator._overdue
    assert not set(versions) <= set(server.client().keys())


def test_reads_and_writes_work_without_redis(server, degrading, pen):
    """This applies to all operations, sync and async, and the results are correct."""
    server.stop()
    func = cached_as(Product)(lambda: len(names()))
    locked_func = cached_as(Product, lock=True)(lambda: len(names()))
    assert (func(), locked_func()) == (1, 1)
    pen.name = "quill"
    pen.save()
    assert names() == ["quill"]
    assert Product.objects.get(pk=pen.pk).name == "quill"
    assert Product.objects.cache(lock=True).count() == 1
    assert Product.objects.exists()
    pen.delete()
    assert names() == []
    assert (func(), locked_func()) == (0, 0)

    @cached_as(Product, lock=True)
    async def afunc():
        return await Product.objects.acount()

    assert run_async(afunc()) == 0


def test_caching_works_again_after_redis_restarts_empty(server, degrading, without_pauses, pen):
    names()
    server.stop()
    Product.objects.update(name="quill")
    assert names() == ["quill"]
    server.start()
    assert names() == names() == ["quill"]
    assert server.client().keys("*cacheops:v:*")


def test_the_simple_cache_works_without_redis(server, degrading, without_pauses, no_background_retry):
    """Each read is a miss; values replaced or deleted during the outage are misses later."""
    cache.set("a", 1, 60)
    cache.set("b", 1, 60)
    cache.set("c", 1, 60)
    calls = []
    func = cached(timeout=60)(lambda: calls.append(1) or len(calls))
    assert func() == 1
    with using_port(servers.free_port()):
        with pytest.raises(CacheMiss):
            cache.get("c")
        cache.set("a", 2, 60)
        with pytest.raises(redis.ConnectionError):
            cache.delete("b")
        assert cache.get_or_set("c", 5) == 5
        assert func() == 2
        with pytest.raises(redis.ConnectionError):
            func.invalidate()
    assert cache.get("a", None) is None
    assert cache.get("b", None) is None
    assert func() == 3
    with using_port(servers.free_port()), pytest.raises(redis.ConnectionError):
        cache.clear()
    assert func() == 4


def test_only_the_first_call_waits_for_an_unresponsive_redis(degrading, pen):
    """If Redis does not answer, a page with many queries waits for one timeout or two."""
    silence = servers.Silence()
    try:
        with using_port(silence.port):
            for _ in range(30):
                assert names() == ["pen"]
        assert len(silence.accepted) <= 2
    finally:
        silence.close()
        background.forget_undelivered()


def test_by_default_a_read_raises_the_connection_error(pen):
    with using_port(servers.free_port()), pytest.raises(redis.ConnectionError):
        names()


@pytest.mark.parametrize("write", WRITES)
def test_by_default_a_write_in_autocommit_raises_no_error(server, no_background_retry, pen, write, caplog):
    """The failure is logged, and the next read returns the new row."""
    assert names() == ["pen"]
    pen.name = "quill"
    with using_port(servers.free_port()):
        WRITES[write](pen)
    assert "Can't invalidate" in caplog.text
    assert names() == ["quill"]


def test_by_default_a_committed_write_raises_no_error(server, no_background_retry, pen, caplog):
    """The failure is logged, all `on_commit` callbacks are called, and the next read returns the new row."""
    assert names() == ["pen"]
    done = []
    with using_port(servers.free_port()):
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


BY_HAND = {
    "invalidate_obj": lambda: invalidate_obj(Label(pk=1)),
    "invalidate_model": lambda: invalidate_model(Label),
    "invalidate_all": invalidate_all,
    "manage.py invalidate all": lambda: call_command("invalidate", "all"),
    "manage.py invalidate of an app": lambda: call_command("invalidate", "shop"),
    "manage.py invalidate of a model": lambda: call_command("invalidate", "shop.label"),
}


@pytest.mark.parametrize("degrades", [False, True])
def test_invalidation_by_hand_raises_if_it_is_not_delivered(server, no_background_retry, pen, degrades):
    """This applies with CACHEOPS_DEGRADE_ON_FAILURE too.  The invalidation is delivered later nevertheless."""
    func = cached_as(Label)(lambda: object())
    first = func()
    for name, invalidate in BY_HAND.items():
        with using_port(servers.free_port()), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades):
            # A command that raises CommandError ends with status 1.
            with pytest.raises(CommandError if name.startswith("manage.py") else redis.ConnectionError):
                invalidate()
            circuit_breaker.breaker.close()
        second = func()
        assert second is not first
        first = second


def test_a_change_of_the_degrade_setting_applies_at_once(pen):
    with using_port(servers.free_port()):
        for degrade in (False, True, False):
            with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrade):
                if degrade:
                    assert names() == ["pen"]
                else:
                    with pytest.raises(redis.ConnectionError):
                        names()


def test_a_full_redis_stores_nothing_and_raises_nothing(degrading, without_pauses, pen):
    """Invalidations still work."""
    with servers.running("--maxmemory-policy", "noeviction") as server, using_port(server.port):
        assert names() == names() == ["pen"]
        server.client().config_set("maxmemory", 1)
        assert Product.objects.count() == Product.objects.count() == 1
        Product.objects.update(name="quill")
        assert names() == ["quill"]
        cache.set("key", 1)
        assert cache.get("key", None) is None
        server.client().config_set("maxmemory", 0)
        assert names() == names() == ["quill"]
        background.forget_undelivered()


def test_a_read_only_redis_is_not_read_before_delivery(server, degrading, without_pauses, no_background_retry, pen):
    """After a failover its data are stale until the invalidations are delivered."""
    assert names() == names() == ["pen"]
    server.client().replicaof("127.0.0.1", servers.free_port())
    Product.objects.update(name="quill")
    assert names() == ["quill"]
    server.client().replicaof("NO", "ONE")
    assert names() == names() == ["quill"]


OUTAGES = [
    redis.ConnectionError(),
    redis.TimeoutError(),
    exceptions.BusyLoadingError(),
    exceptions.ReadOnlyError(),
    exceptions.OutOfMemoryError(),
    exceptions.ClusterDownError("CLUSTERDOWN"),
    exceptions.TryAgainError(),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("command", ["MGET", "EVALSHA"])
def test_errors_of_an_outage_are_not_raised(
    server, degrading, without_pauses, no_background_retry, pen, monkeypatch, error, command
):
    """This applies to each step of a read and of a write."""
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


def test_other_redis_errors_are_raised(server, degrading, pen, monkeypatch):
    """They report mistakes, such as missing permissions."""

    def failing(*args, **options):
        raise exceptions.NoPermissionError("no permission to run MGET")

    monkeypatch.setattr(get_client(), "execute_command", failing)
    with pytest.raises(exceptions.NoPermissionError):
        names()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_child_does_not_wait_for_locks_of_its_parent_s_threads(server, pen, monkeypatch):
    """The fork happens while other threads have locks, and the child delivers itself what they were delivering."""
    names()
    work = {all_prefixes()[0]: WriteSet(tables={"shop_product"})}
    invalidator._in_delivery.update(work)
    locks = [
        invalidator._delivery_lock,
        invalidator._state_lock,
        near._lock,
        circuit_breaker.breaker.lock,
        cacheops_redis._lock,
    ]
    try:
        with locked_by_another_thread(locks):
            child = os.fork()
            if not child:
                with exit_child():
                    assert near.look_up("nothing") is None
                    assert run_script("release_fences", [], [""]) == 0
                    circuit_breaker.breaker.record_failure(redis.ConnectionError())
                    assert not circuit_breaker.breaker.allows_call()
                    assert invalidator.is_overdue()
                    invalidator.deliver_overdue()
                    assert not invalidator.is_overdue()
        assert os.waitpid(child, 0)[1] == 0
    finally:
        invalidator._in_delivery.clear()
    assert not get_client().keys("*t:{shop_product}")


@contextmanager
def locked_by_another_thread(locks):
    """Let another thread take and keep the locks."""
    is_locked, may_unlock = threading.Event(), threading.Event()

    def lock_and_wait():
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            is_locked.set()
            may_unlock.wait(20)

    thread = threading.Thread(target=lock_and_wait)
    thread.start()
    try:
        assert is_locked.wait(20)
        yield
    finally:
        may_unlock.set()
        thread.join()


@contextmanager
def exit_child():
    """End the child process: with 0 if there was no error, and after 5 seconds at most."""
    code = 1
    try:
        signal.alarm(5)
        yield
        code = 0
    finally:
        os._exit(code)


def test_undelivered_invalidations_are_bounded(server, degrading, no_background_retry):
    """Too many changes become whole tables; too many keys become everything."""
    with using_port(servers.free_port()):
        for start in range(0, 3000, 500):
            changes = [Change("t", {"a": str(number)}, None) for number in range(start, start + 500)]
            invalidator.postpone({"": WriteSet(changes=changes, causes=[Invalidation("save", Label)])})
        waiting = invalidator._overdue[""]
        assert len(waiting.changes) <= MAX_CHANGES_PER_TABLE
        assert waiting.tables == {"t"}
        invalidator.postpone({"": WriteSet(keys={f"k{number}" for number in range(MAX_OVERDUE_KEYS + 1)})})
        assert waiting.everything
        assert not waiting.causes
        assert not waiting.keys


def test_the_begin_and_the_end_of_an_outage_are_logged_once(server, degrading, without_pauses, pen, caplog):
    """They are not logged for each query."""
    caplog.set_level(logging.INFO, "cacheops_lite")
    server.stop()
    for _ in range(5):
        names()
    server.start()
    for _ in range(5):
        names()
    away, back = (record.message for record in caplog.records)
    assert away.startswith("Redis is away, going on without it: ")
    assert f"Redis at localhost:{server.port}/0 is back, after " in back


def test_a_circuit_breaker_allows_one_call_after_each_pause(monkeypatch):
    """Pauses double up to a bound; a success closes the circuit breaker."""
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
