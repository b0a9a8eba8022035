"""Each kind of failure: what reads do, what writes do, what is logged; docs/production/outages.rst has the table."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha1

import pytest
import redis
from django.db import connection, connections
from django.test import override_settings
from redis import exceptions

from cacheops_lite.store import circuit_breaker, invalidator, pending_releases
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client
from cacheops_lite.store.failure_kinds import FailureKind, kind_of
from cacheops_lite.store.time_limit import Role, running
from cacheops_lite.store.write_set import WriteSet
from tests.conftest import counted_reads
from tests.shop.models import Label
from tests.support import failures, servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
LIMIT_SECONDS = 0.4
AWAY, REFUSES, MISCONFIGURED, OURSELVES, DEFECT = FailureKind


@contextmanager
def replying(server, error):
    """Replace the server's replies, where a test can't provoke them."""

    def fail(*args, **options):
        raise error

    client = get_client()
    client.execute_command = fail
    try:
        yield
    finally:
        del client.execute_command


# (kind, how to provoke it)
FAILURES = {
    "stopped": (AWAY, failures.stopped),
    "hanging": (AWAY, failures.hanging),
    "LOADING": (AWAY, partial(replying, error=exceptions.BusyLoadingError("Redis is loading"))),
    "TRYAGAIN": (AWAY, partial(replying, error=exceptions.TryAgainError("Multiple keys request"))),
    "CLUSTERDOWN": (AWAY, partial(failures.of_a_cluster, has_slots=False)),
    "MASTERDOWN": (AWAY, failures.without_its_master),
    "OOM": (REFUSES, failures.out_of_memory),
    "READONLY": (REFUSES, failures.read_only),
    "NOREPLICAS": (REFUSES, failures.too_few_replicas),
    "MISCONF": (REFUSES, failures.unable_to_save),
    "BUSY": (REFUSES, failures.busy),
    "WRONGPASS": (MISCONFIGURED, failures.with_another_password),
    "NOPERM": (MISCONFIGURED, failures.without_permissions),
    "unknown command": (MISCONFIGURED, failures.without_scripts),
    "MOVED": (MISCONFIGURED, partial(replying, error=exceptions.MovedError("1 127.0.0.1:1"))),
    "a full pool": (OURSELVES, failures.without_connections),
    "WRONGTYPE in scripts": (DEFECT, failures.with_failing_scripts),
}
# Redis 7 lets scripts write once they have deleted something.
DELIVERED_ALL_THE_SAME = {"OOM"}
# Kinds after which a read raises, by whether reads degrade.
RAISING = {False: {AWAY, REFUSES, MISCONFIGURED}, True: {MISCONFIGURED}}
# What the log says of a read that raises nothing.
LOGGED_READ = {
    AWAY: "Redis is away",
    REFUSES: "Redis is away",
    OURSELVES: "is not used for now",
    DEFECT: "counts as a miss",
}


@pytest.fixture(params=[False, True], ids=["raising", "degrading"])
def degrades(request):
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=request.param):
        yield request.param


@pytest.fixture
def server(degrades, tmp_path):
    options = {"max_connections": 4, "protocol": 2}
    folder = tmp_path / "data"
    folder.mkdir()
    with (
        servers.running("--dir", str(folder)) as server,
        override_settings(
            CACHEOPS_REDIS={"port": server.port, **options},
            CACHEOPS_CLIENT_CLASS=None,
            CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS,
        ),
    ):
        server.folder = str(folder)
        yield server
        assert wait_until(is_settled)


def is_settled():
    return not (invalidator.is_overdue() or invalidator.is_refused() or pending_releases._pending)


def texts():
    return sorted(Label.objects.filter(text__in=["old", "new"]).values_list("text", flat=True))


@pytest.fixture
def label(server):
    label = Label.objects.create(text="old")
    # The process knows the dependency index and has loaded the scripts.
    for _ in range(2):
        texts()
        label.save()
    return label


def missing():
    """Read what was not read before."""
    return sorted(Label.objects.filter(text__in=["old", "another"]).values_list("text", flat=True))


@pytest.mark.parametrize("failure", FAILURES)
def test_a_read_raises_or_comes_from_the_database(degrades, server, label, failure, caplog):
    """It raises what a person must know of: mistakes in the settings, and outages unless reads degrade."""
    kind, provoke = FAILURES[failure]
    with provoke(server), caplog.at_level(logging.INFO, "cacheops_lite"):
        if kind in RAISING[degrades]:
            with pytest.raises(redis.RedisError) as raised:
                missing()
            assert kind_of(raised.value) is kind
            assert not caplog.records
        else:
            assert missing() == missing() == missing() == ["old"]
            assert [record for record in caplog.records if LOGGED_READ[kind] in record.message]
            # At most one line a minute for each kind of error, however many reads fail.
            assert len(caplog.records) <= 2
        assert circuit_breaker.breaker.is_open == (degrades and kind in (AWAY, REFUSES))
    circuit_breaker.breaker.close()
    assert missing() == missing() == ["old"]
    with counted_reads() as counted:
        missing()
    assert counted.hits == 1


@pytest.mark.parametrize("failure", ["OOM", "READONLY", "NOREPLICAS", "MISCONF"])
def test_hits_are_served_until_the_next_check_finds_that_redis_refuses_writes(degrades, server, label, failure):
    """What the check does is in test_server_epoch; here no check is due."""
    assert texts() == texts() == ["old"]
    with FAILURES[failure][1](server), counted_reads() as counted:
        assert texts() == ["old"]
    assert counted.hits == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_a_write_is_committed_and_its_invalidation_follows(degrades, server, label, failure, caplog):
    """The application sees no error.  Once the failure is over, no process finds the old result."""
    _, provoke = FAILURES[failure]
    assert texts() == texts() == ["old"]
    before = versions(server)
    label.text = "new"
    with provoke(server), caplog.at_level(logging.WARNING, "cacheops_lite"):
        label.save()
        if failure in DELIVERED_ALL_THE_SAME:
            assert is_settled()
        else:
            assert any(text in caplog.text for text in ("Can't invalidate", "Redis is away", "Redis does not answer"))
        assert len(caplog.records) <= 4
    assert Label.objects.nocache().filter(text="new").exists()
    # Without a read or a write of this process.
    assert wait_until(is_settled)
    assert before
    assert not before <= versions(server)
    circuit_breaker.breaker.close()
    assert texts() == texts() == ["new"]


def versions(server):
    """Return the keys and values of the versions that results of labels are stored under."""
    client = server.client()
    found = [*client.scan_iter("*cacheops:t:{shop_label}"), *client.scan_iter("*cacheops:d:{shop_label}:*")]
    return {(key, client.get(key)) for key in found}


def test_a_full_redis_drops_versions_although_it_takes_no_fence(server, label, monkeypatch):
    """Redis may refuse the fence's ZADD alone, as in scripts of Redis that declare their flags."""
    assert texts() == texts() == ["old"]
    before = versions(server)
    source = cacheops_redis.script_source("invalidate")
    refusing = source.replace("redis.pcall('zadd'", "redis.pcall('no such command'")
    assert refusing != source
    monkeypatch.setattr(cacheops_redis, "script_source", lambda name: refusing)
    monkeypatch.setattr(cacheops_redis, "script_digest", lambda name: sha1(refusing.encode()).hexdigest())
    fence = invalidator.Fence()
    with pytest.raises(redis.ResponseError):
        invalidator.invalidate_and_fence({"": WriteSet(tables={"shop_label"})}, fence)
    assert not before <= versions(server)
    assert not fence.confirmed
    monkeypatch.undo()
    invalidator.release(fence)


def test_a_write_waits_for_a_connection_that_another_thread_uses(server, label):
    """Nothing is left to the background."""
    assert texts() == texts() == ["old"]
    before = versions(server)
    with failures.without_connections(server) as taken:
        pool = get_client().connection_pool
        threading.Timer(0.1, lambda: pool.release(taken.pop())).start()
        label.text = "new"
        label.save()
        assert is_settled()
        assert not before <= versions(server)


def test_a_fence_that_is_not_permitted_does_not_keep_versions_from_being_dropped(server, label):
    assert texts() == texts() == ["old"]
    before = versions(server)
    fence = invalidator.Fence()
    with failures.permitting(server, "-time"), pytest.raises(redis.ResponseError):
        invalidator.invalidate_and_fence({"": WriteSet(tables={"shop_label"})}, fence)
    assert not before <= versions(server)
    invalidator.release(fence)


def test_a_defect_invalidates_whole_tables_at_once(server, label):
    """Plain commands do what the script can't: nothing is left to the background."""
    assert texts() == texts() == ["old"]
    with failures.with_failing_scripts(server):
        label.text = "new"
        label.save()
        assert not invalidator.is_overdue()
        assert not server.client().exists("cacheops:t:{shop_label}")


def test_a_fence_that_cannot_be_placed_is_logged_with_its_reason(server, label, caplog):
    """Here the ACL lacks TIME.  The write is invalidated all the same, and further ones are not logged each."""
    assert texts() == texts() == ["old"]
    with failures.permitting(server, "-time"), caplog.at_level(logging.WARNING, "cacheops_lite"):
        for text in ("a", "b", "new"):
            label.text = text
            label.save()
        (record,) = caplog.records
        assert "Can't invalidate and fence" in record.message
        assert "ACL SETUSER" in record.message
        assert not invalidator.is_overdue()
        assert texts() == ["new"]


def test_130_threads_on_a_small_pool_are_no_outage(degrades, server, label):
    """Reads come from the cache or the database, writes wait for a connection, and the breaker stays closed."""

    def work(number):
        try:
            if number % 5 == 0 and connection.vendor != "sqlite":
                Label.objects.filter(pk=label.pk).update(text="new" if number % 2 else "old")
            return texts()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(work, range(130)))
    assert all(len(each) == 1 for each in found)
    assert not circuit_breaker.breaker.is_open
    assert not circuit_breaker.write_breaker.is_open
    assert texts() == list(Label.objects.nocache().values_list("text", flat=True))


@pytest.mark.parametrize("error", [None, exceptions.ConnectionError("away"), KeyboardInterrupt()])
def test_after_the_call_of_a_write_its_thread_counts_as_a_reader_again(error):
    """On a cluster, the breakers of nodes tell reads and writes apart by that."""
    seen = []

    def call():
        seen.append(running.role)
        if error is not None:
            raise error

    with suppress(exceptions.ConnectionError, KeyboardInterrupt):
        circuit_breaker.call_for_write(call)
    assert (seen, running.role) == ([Role.WRITE], Role.READ)
