"""Errors of Redis name the setting, the server and what to do; an outage is logged in one line."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.db import transaction
from django.test import override_settings
from redis import exceptions

from cacheops_lite import cache, invalidate_all
from cacheops_lite.store import (
    circuit_breaker,
    client,
    execute,
    invalidator,
    outage_log,
    pending_releases,
    redis_errors,
    server_address,
)
from cacheops_lite.store.failure_kinds import kind_of
from cacheops_lite.store.outage_log import OutageLog, outages
from tests.shop.models import Label, Product
from tests.support import servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

QUICKLY = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5, "retry": None}


def using(port, **options):
    return override_settings(CACHEOPS_REDIS={"port": port, **QUICKLY, **options}, CACHEOPS_CLIENT_CLASS=None)


@pytest.fixture
def server():
    with servers.running() as server:
        yield server


PIECES_OF_CODE = {
    "a queryset": lambda: list(Label.objects.all()),
    "the simple cache": lambda: cache.get("key", None),
    "a value set": lambda: cache.set("key", 1),
    "invalidate_all": invalidate_all,
    "a command": lambda: execute("GET", "x"),
}


@pytest.mark.parametrize("code", PIECES_OF_CODE)
def test_a_connection_error_names_the_setting_and_the_server(code):
    """It also says what to do, is still an error of redis-py, and has no password."""
    port = servers.free_port()
    with using(port, password="s3cret", db=3), pytest.raises(redis.ConnectionError) as raised:
        PIECES_OF_CODE[code]()
    text = str(raised.value)
    assert text.count("Redis at ") == 1
    assert f"localhost:{port}/3" in text
    assert "CACHEOPS_REDIS" in text
    assert "Check that it runs" in text
    assert "CACHEOPS_DEGRADE_ON_FAILURE = True" in text
    assert "s3cret" not in text


def test_a_url_with_a_password_is_shown_without_it():
    url = f"redis://me:s3cret@127.0.0.1:{servers.free_port()}/2?socket_connect_timeout=0.2"
    with (
        override_settings(CACHEOPS_REDIS=url, CACHEOPS_CLIENT_CLASS=None),
        pytest.raises(redis.ConnectionError) as info,
    ):
        list(Label.objects.all())
    assert "s3cret" not in str(info.value)
    assert "/2, which CACHEOPS_REDIS names" in str(info.value)


def test_an_error_of_sentinel_names_its_setting():
    sentinel = {"locations": [("127.0.0.1", servers.free_port())], "service_name": "mymaster", "retry": None}
    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": sentinel, "CACHEOPS_CLIENT_CLASS": None}
    with override_settings(**overrides), pytest.raises(redis.ConnectionError) as raised:
        list(Label.objects.all())
    assert "service 'mymaster' of Sentinel 127.0.0.1:" in str(raised.value)
    assert "CACHEOPS_SENTINEL" in str(raised.value)


def test_a_wrong_password_is_named_as_such(server):
    server.client().config_set("requirepass", "right")
    for password in ("wrong", None):
        with (
            using(server.port, password=password),
            pytest.raises(redis.RedisError, match="Correct username and") as info,
        ):
            list(Label.objects.all())
        assert isinstance(info.value, exceptions.AuthenticationError)
        assert "DEGRADE" not in str(info.value)


@pytest.mark.redis
def test_a_missing_permission_names_the_command_and_where_to_look(server):
    server.client().acl_setuser("poor", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-evalsha", "-mget"])
    with using(server.port, username="poor", password="x"), pytest.raises(exceptions.NoPermissionError) as raised:
        list(Label.objects.all())
    # Which one comes first depends on what this process has read before.
    assert any(name in str(raised.value) for name in ("'evalsha'", "'mget'"))
    assert "ACL SETUSER" in str(raised.value)
    assert "docs/doctor.rst" in str(raised.value)


@pytest.mark.redis
def test_a_replica_is_named_as_such(server):
    server.client().replicaof("127.0.0.1", servers.free_port())
    with using(server.port), pytest.raises(redis.RedisError, match="is a read-only replica"):
        list(Label.objects.all())


@pytest.mark.redis
def test_a_cluster_is_named_as_such(tmp_path):
    options = ("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    refused = pytest.raises(redis.RedisError, match="node of a Redis Cluster")
    with servers.running(*options) as node, using(node.port), refused:
        list(Label.objects.all())


@pytest.mark.redis
def test_a_full_server_is_named_as_such(server):
    server.client().config_set("maxmemory", 1)
    with using(server.port), pytest.raises(redis.RedisError, match="maxmemory-policy to allkeys-lru"):
        list(Label.objects.all())


TEXTS = [
    (redis.ResponseError("MISCONF Redis is configured to save"), "can't save to its disk"),
    (redis.ResponseError("unknown command 'MGET'"), "older than Redis 6"),
    (redis.ResponseError("ERR something else"), "sent this error"),
    (exceptions.BusyLoadingError("LOADING Redis is loading"), "loading its data"),
    (redis.TimeoutError("Timeout reading from socket"), "CACHEOPS_REDIS_TIMEOUT"),
    (exceptions.MovedError("1 127.0.0.1:1"), "Redis Cluster"),
    (exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), "Redis Cluster"),
]


@pytest.mark.parametrize(("error", "said"), TEXTS, ids=lambda value: str(value)[:12])
def test_each_kind_of_error_has_its_sentence(error, said):
    """The beginning of the text stays: programs recognize errors by it.  An error is explained only once."""
    before, kind = str(error), kind_of(error)
    redis_errors.explain_error(error)
    after = str(error)
    assert after.startswith(before)
    assert said in after
    redis_errors.explain_error(error)
    assert str(error) == after
    assert kind_of(error) is kind


def test_errors_of_the_protocol_are_not_explained():
    for error in (exceptions.NoScriptError("NOSCRIPT"), redis.WatchError("changed"), ValueError("another")):
        text = str(error)
        redis_errors.explain_error(error)
        assert str(error) == text


ADDRESSES = [
    ({}, "localhost:6379/0"),
    ({"host": "h", "port": "7", "db": "2", "unix_socket_path": ""}, "h:7/2"),
    ({"unix_socket_path": "/s", "db": 1}, "unix:/s, database 1"),
    ("redis://:pw@h:7/2", "h:7/2"),
    ("rediss://h?db=4", "h:6379/4"),
    ("unix:///s%20t?db=1", "unix:/s t, database 1"),
    ("redis://[::1]:7/", "[::1]:7/0"),
    ("http://h", "an address that is not understood"),
    ("redis://h:port", "an address that is not understood"),
    (5, "an address that is not understood"),
]


@pytest.mark.parametrize(("setting", "text"), ADDRESSES, ids=str)
def test_an_address_is_read_in_all_its_forms(setting, text):
    with override_settings(CACHEOPS_REDIS=setting):
        assert server_address.describe_address() == text


# The log.


def test_many_failed_writes_log_one_line_without_a_traceback(caplog):
    """The end of the outage is one line, too."""
    with servers.running() as server, using(server.port), caplog.at_level(logging.INFO, "cacheops_lite"):
        server.stop()
        for number in range(5):
            with transaction.atomic():
                Label.objects.create(text=str(number))
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is None
        assert "Can't invalidate" in record.getMessage()
        assert f"localhost:{server.port}/0" in record.getMessage()
        server.start()
        list(Label.objects.all())
        messages = [each.getMessage() for each in caplog.records]
        assert len(messages) == 2
        assert messages[1].startswith(f"Redis at localhost:{server.port}/0 is back, after ")
        # A background thread that is still releasing fences would report another success.
        assert wait_until(lambda: not (invalidator.is_overdue() or pending_releases._pending))
        server.stop()
        Label.objects.create(text="again")
        assert len(caplog.records) == 3, "another outage is logged again"


def test_failures_are_repeated_once_a_minute_with_their_number(caplog, monkeypatch):
    now, log = [100.0], OutageLog()
    monkeypatch.setattr(outage_log.time, "monotonic", lambda: now[0])
    for _ in range(3):
        log.report_failure(logging.ERROR, "Can't", redis.ConnectionError("away"))
    now[0] += outage_log.REPEAT_SECONDS - 1
    log.report_failure(logging.ERROR, "Can't do another thing", redis.TimeoutError("away"))
    assert len(caplog.records) == 1
    now[0] += 1
    log.report_failure(logging.ERROR, "Can't", redis.ConnectionError("away"))
    assert len(caplog.records) == 2
    assert "(3 more failures" in caplog.records[1].getMessage()


def test_a_permanent_refusal_is_no_outage_and_has_its_own_line(caplog):
    """It neither hides an outage nor is hidden by it, and a success elsewhere does not end it."""
    caplog.set_level(logging.INFO, "cacheops_lite")
    log = OutageLog()
    for _ in range(3):
        log.report_failure(logging.ERROR, "Can't", exceptions.NoPermissionError("no permissions"))
        assert not log.is_outage
        log.report_success()
    log.report_failure(logging.ERROR, "Can't", redis.ConnectionError("away"))
    assert log.is_outage
    assert len(caplog.records) == 2


@pytest.mark.redis
def test_a_full_redis_that_stores_no_result_logs_one_line(server, caplog):
    """Results are stored without waiting, and each reply would be a line."""
    with using(server.port), caplog.at_level(logging.INFO, "cacheops_lite"):
        list(Label.objects.all())
        for number in range(4):
            client._handle_script_error("fill", None, None, exceptions.OutOfMemoryError(f"full {number}"))
        assert len(caplog.records) == 1


def test_a_save_that_should_be_cached_logs_no_traceback(caplog):
    profiles = {"shop.label": {"ops": "get", "timeout": 60, "cache_on_save": True}}
    with override_settings(CACHEOPS=profiles), using(servers.free_port()):
        Label.objects.create(text="a")
        Label.objects.create(text="b")
        with transaction.atomic():
            Label.objects.create(text="c")
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is None


def test_the_log_of_a_circuit_breaker_names_the_error(caplog, monkeypatch):
    monkeypatch.setattr(circuit_breaker.breaker, "_pause", 0.0)
    with using(servers.free_port()), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        for _ in range(3):
            assert list(Product.objects.all()) == []
        (record,) = caplog.records
        assert "Redis is away, going on without it: ConnectionError: Error 111" in record.getMessage()
        assert "CACHEOPS_DEGRADE_ON_FAILURE = True" not in record.getMessage()
    assert not outages.is_outage, "other settings may name another server"


def test_a_background_thread_that_finds_nothing_to_deliver_ends_no_outage(caplog):
    """Another thread may have delivered it, before the outage."""
    with using(servers.free_port()), override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        assert list(Product.objects.all()) == []
        for retry in (invalidator._overdue_retry, invalidator._refused_retry, pending_releases._retry):
            retry.start()
            if (thread := retry._thread) is not None:
                thread.join()
        assert outages.is_outage


PROJECT = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cacheops_lite"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {name!r}}}}},
    CACHEOPS={{"*.*": {{"ops": "all", "timeout": 60}}}},
    CACHEOPS_REDIS={{"port": {port}, "retry": None}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0, skip_checks=True)
from django.contrib.auth.models import Permission
print(Permission.objects.nocache().count(), "permissions")
"""


def test_migrate_without_redis_succeeds_and_prints_one_line(tmp_path):
    """The migrations write many rows, and the invalidation of each fails."""
    code = PROJECT.format(name=str(tmp_path / "db.sqlite3"), port=servers.free_port())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "16 permissions\n"
    lines = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert 1 <= len(lines) <= 2, done.stderr
    assert "which CACHEOPS_REDIS names" in lines[0]
