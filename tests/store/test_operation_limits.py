"""One operation of the cache waits for Redis at most for CACHEOPS_REDIS_TIMEOUT in all, however Redis behaves."""

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

from cacheops_lite import cache
from cacheops_lite.store import circuit_breaker, client, invalidator, limited_connection, pending_releases, time_limit
from tests.shop.models import Label
from tests.support import failures, servers
from tests.support.proxies import Proxy

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


@pytest.fixture
def server():
    with servers.running() as server:
        yield server


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@contextmanager
def using(address, port):
    with override_settings(
        CACHEOPS_REDIS=address(port), CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS
    ):
        yield
        assert wait_until(lambda: not (invalidator.is_overdue() or pending_releases._pending))


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


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
        invalidator._overdue.clear()
        pending_releases._pending.clear()
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
        assert time_limit.deadline() is None


@pytest.mark.parametrize("count", ["one address", "several addresses"])
def test_an_address_that_does_not_answer_is_left_in_time(label, count, monkeypatch):
    """redis-py tries all addresses of a host, one after the other."""
    import socket

    # Full backlogs: the kernel accepts no further connection, and refuses none.
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    getaddrinfo = socket.getaddrinfo
    times = 1 if count == "one address" else 4
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: getaddrinfo(*args, **options)[:1] * times)
    own = {"host": "127.0.0.1", "port": listener.getsockname()[1]}
    try:
        with override_settings(CACHEOPS_REDIS=own, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS):
            seconds = take_seconds(READS["fetch"], label, True)
        assert LIMIT_SECONDS / 2 < seconds < LIMIT_SECONDS + MARGIN_SECONDS
    finally:
        for each in (*fillers, listener):
            each.close()
