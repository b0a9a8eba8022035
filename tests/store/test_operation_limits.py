"""One operation of the cache waits for Redis at most for CACHEOPS_REDIS_TIMEOUT in all, however Redis behaves."""

import socket
import threading
import time
from contextlib import contextmanager, nullcontext

import pytest
import redis
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import override_settings
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from cacheops_lite import cache, invalidate_all
from cacheops_lite.store import circuit_breaker, client, invalidator, limited_connection, pending_releases, time_limit
from cacheops_lite.store.write_set import WriteSet
from tests.shop.models import Label
from tests.support import background, failures, servers
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
LIMIT_SECONDS = 0.5
# For the database, and for a machine that runs other things as well.
MARGIN_SECONDS = 0.3
PATIENCE = 20
PATIENT = {"socket_timeout": 9, "socket_connect_timeout": 9, "retry": Retry(ConstantBackoff(0.1), 50)}


@pytest.fixture(params=["a dict", "a dict with retries", "a URL with retries"])
def address(request):
    """Return what makes CACHEOPS_REDIS of a port, with time limits and retries of its own."""
    return {
        "a dict": lambda port: {"host": "127.0.0.1", "port": port},
        "a dict with retries": lambda port: {"host": "127.0.0.1", "port": port, **PATIENT},
        "a URL with retries": lambda port: (
            f"redis://127.0.0.1:{port}/0?socket_timeout=9&retry_on_timeout=yes&health_check_interval=1"
        ),
    }[request.param]


@pytest.fixture(params=[False, True], ids=["raising", "degrading"])
def degrades(request):
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=request.param):
        yield request.param


@contextmanager
def using(address, port):
    with override_settings(
        CACHEOPS_REDIS=address(port), CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS
    ):
        yield
        assert wait_until(lambda: not (invalidator.is_overdue() or pending_releases._pending))


def texts():
    return list(Label.objects.values_list("text", flat=True))


@pytest.fixture
def label():
    return Label.objects.create(text="old")


def save(label):
    # Only what changes is invalidated.
    label.text += "."
    label.save()


def save_in_a_block(label):
    with transaction.atomic():
        save(label)


WRITES = {
    "save": save,
    "a block": save_in_a_block,
    "update": lambda label: Label.objects.update(text=Concat("text", Value("."))),
    "raw": lambda label: connection.cursor().execute("UPDATE shop_label SET text = '.'"),
}
READS = {
    "fetch": lambda label: texts(),
    "a locked read": lambda label: list(Label.objects.cache(lock=True)),
    "the simple cache": lambda label: cache.get("key", None),
}


def take_seconds(function, label, may_raise):
    started = time.monotonic()
    with pytest.raises(redis.RedisError) if may_raise else nullcontext():
        function(label)
    return time.monotonic() - started


def forget_failures():
    circuit_breaker.breaker.close()
    circuit_breaker.write_breaker.close()


@pytest.mark.parametrize("write", WRITES)
def test_a_write_waits_once_for_a_hanging_redis(server, address, degrades, label, write):
    """The fence before its commit and the release after it share the limit; the next write does not wait at all."""
    with using(address, server.port):
        texts(), texts()
        WRITES[write](label)
        with failures.hanging(server):
            first = take_seconds(WRITES[write], label, False)
            second = take_seconds(WRITES[write], label, False)
        assert LIMIT_SECONDS / 2 < first < LIMIT_SECONDS + MARGIN_SECONDS
        assert second < MARGIN_SECONDS


@pytest.mark.parametrize("read", READS)
def test_a_read_waits_once_for_a_hanging_redis(server, address, degrades, label, read):
    """With CACHEOPS_DEGRADE_ON_FAILURE the next read does not wait at all."""
    with using(address, server.port):
        READS[read](label)
        with failures.hanging(server):
            first = take_seconds(READS[read], label, not degrades)
            assert LIMIT_SECONDS / 2 < first < LIMIT_SECONDS + MARGIN_SECONDS
            if degrades:
                assert take_seconds(READS[read], label, False) < MARGIN_SECONDS
    forget_failures()


@pytest.mark.parametrize("has_connections", [False, True])
def test_replies_that_come_byte_by_byte_do_not_prolong_an_operation(
    server, proxy, address, degrades, label, has_connections
):
    """This applies to the replies when a connection is made as well."""
    with using(address, proxy.port):
        texts(), texts()
        if not has_connections:
            proxy.reset()
        proxy.is_trickling = True
        read = take_seconds(lambda label: list(Label.objects.filter(text="a")), label, not degrades)
        forget_failures()
        write = take_seconds(save, label, False)
        assert read < LIMIT_SECONDS + MARGIN_SECONDS
        assert write < LIMIT_SECONDS + MARGIN_SECONDS
        proxy.is_trickling = False
        forget_failures()


def test_retries_of_refused_connections_end_at_the_limit(address, degrades, label):
    """The address asks for 50 retries with pauses."""
    with override_settings(
        CACHEOPS_REDIS=address(servers.free_port()), CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS
    ):
        assert take_seconds(READS["fetch"], label, not degrades) < LIMIT_SECONDS + MARGIN_SECONDS
        assert take_seconds(save, label, False) < LIMIT_SECONDS + MARGIN_SECONDS
        background.forget_undelivered()
    forget_failures()


def test_threads_that_wait_for_a_delivery_do_not_wait_one_after_the_other(server, address, label):
    """While Redis hangs, one of them waits for Redis and the others for its lock; all of them go on in time."""
    with using(address, server.port), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        texts(), texts()
        with failures.hanging(server):
            save(label)
            seconds = []

            def read():
                try:
                    forget_failures()
                    seconds.append(take_seconds(READS["fetch"], label, False))
                finally:
                    connection.close()

            threads = [threading.Thread(target=read) for _ in range(6)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        assert len(seconds) == 6
        assert max(seconds) < LIMIT_SECONDS + 2 * MARGIN_SECONDS
    forget_failures()


def test_a_read_does_not_wait_for_ever_for_another_thread_that_delivers(server, address, degrades, label):
    """It goes on without the cache, and that is no outage."""
    with using(address, server.port):
        texts(), texts()
        is_locked, may_unlock = threading.Event(), threading.Event()

        def lock():
            with invalidator._delivery_lock:
                is_locked.set()
                may_unlock.wait(PATIENCE)

        thread = threading.Thread(target=lock)
        thread.start()
        is_locked.wait(PATIENCE)
        invalidator.postpone({"": WriteSet(tables={"shop_label"})})
        assert take_seconds(READS["fetch"], label, False) < LIMIT_SECONDS + MARGIN_SECONDS
        assert not circuit_breaker.breaker.is_open
        may_unlock.set()
        thread.join()


def test_a_release_after_the_commit_has_what_the_fence_left_of_the_limit(server, address, label):
    with using(address, server.port):
        texts(), texts()
        fence, work = invalidator.Fence(), {"": WriteSet(tables={"shop_label"})}
        invalidator.invalidate_and_fence(work, fence)
        assert 0 < fence.budget.seconds_left < LIMIT_SECONDS
        fence.budget.seconds_left = 0.01
        fence.confirmed.clear()
        with failures.hanging(server), pytest.raises(redis.TimeoutError):
            started = time.monotonic()
            invalidator.invalidate(work, fence)
        assert time.monotonic() - started < LIMIT_SECONDS / 2
    forget_failures()


def test_what_is_owed_is_delivered_while_the_breakers_are_open(server, address, label):
    """The success closes them: reads and writes need not wait for the end of the pause."""
    with using(address, server.port), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        texts(), texts()
        for each in (circuit_breaker.breaker, circuit_breaker.write_breaker):
            each.record_failure(redis.TimeoutError("no reply"))
            each._pause, each._retry_at = 15.0, time.monotonic() + 15
        invalidator.postpone({"": WriteSet(tables={"shop_label"})})
        time.sleep(0.5)
        assert not invalidator.is_overdue()
        assert not circuit_breaker.breaker.is_open
        assert not circuit_breaker.write_breaker.is_open


def test_an_attempt_in_the_background_does_not_wait_for_a_lost_packet(server):
    """The kernel sends the first packet of a connection again after a second; a new connection is faster."""
    with servers.DeafPort() as port:
        own = {"host": "127.0.0.1", "port": port.number}
        with override_settings(CACHEOPS_REDIS=own, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=2.0):
            invalidator.postpone({"": WriteSet(tables={"shop_label"})})
            time.sleep(0.15)
            port.close()
            proxy = Proxy(server.port, port.number)
            time.sleep(0.5)
            assert not invalidator.is_overdue()
            proxy.close()


def test_calls_that_fail_together_do_not_lengthen_the_pause():
    """They began before the breaker opened, so they tell nothing new."""
    breaker = circuit_breaker.CircuitBreaker()
    for _ in range(10):
        breaker.record_failure(redis.ConnectionError("away"))
    assert breaker._pause == circuit_breaker.FIRST_PAUSE_SECONDS


def test_removing_everything_is_limited_for_each_step_only(server, address, label, monkeypatch):
    """It takes as long as there are keys."""
    with using(address, server.port), override_settings(CACHEOPS_REDIS_TIMEOUT=0.2):
        texts(), texts()
        scan = redis.Redis.scan

        def scan_slowly(self, cursor, **options):
            time.sleep(0.15)
            return scan(self, 0, **options) if cursor else (1, [])

        monkeypatch.setattr(redis.Redis, "scan", scan_slowly)
        invalidate_all()
        assert not server.client().keys("*cacheops:v:*")


def test_a_failed_read_does_not_keep_writes_from_fencing(server, address, label):
    """A single failure, such as a connection that was reset, opens the breaker of reads only."""
    with using(address, server.port), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        texts(), texts()
        circuit_breaker.breaker.record_failure(redis.ConnectionError("reset"))
        save(label)
        assert not invalidator.is_overdue()
        assert not circuit_breaker.breaker.is_open


def test_without_a_limit_connections_are_those_of_redis_py(server):
    with override_settings(
        CACHEOPS_REDIS={"port": server.port}, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=None
    ):
        pool = client.get_client().connection_pool
        assert limited_connection.unlimited_class(pool.connection_class) is pool.connection_class
        assert texts() == texts() == []


def test_a_budget_is_used_up_by_the_calls_that_share_it():
    with override_settings(CACHEOPS_REDIS_TIMEOUT=0.2):
        budget = time_limit.Budget()
        time_limit.run_within(budget, lambda: time.sleep(0.15))
        # What happens between calls, such as the commit, does not count.
        time.sleep(0.1)
        assert 0 < time_limit.run_within(budget, time_limit.seconds_left) <= 0.05
        assert time_limit.running.deadline is None


@pytest.mark.parametrize("count", ["one address", "several addresses"])
def test_an_address_that_does_not_answer_is_left_in_time(label, count, monkeypatch):
    """redis-py tries all addresses of a host, one after the other."""
    getaddrinfo = socket.getaddrinfo
    times = 1 if count == "one address" else 4
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: getaddrinfo(*args, **options)[:1] * times)
    with servers.DeafPort() as port:
        own = {"host": "127.0.0.1", "port": port.number}
        with override_settings(CACHEOPS_REDIS=own, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS):
            seconds = take_seconds(READS["fetch"], label, True)
    assert LIMIT_SECONDS / 2 < seconds < LIMIT_SECONDS + MARGIN_SECONDS
