"""How long a call to Redis waits, and how often it is tried: CACHEOPS_REDIS_TIMEOUT."""

import threading

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from cacheops_lite import conf
from cacheops_lite.store.client import get_client
from tests.shop.models import Label
from tests.support import servers

ADDRESSES = {
    "the default": {"CACHEOPS_REDIS": {}},
    "a dict": {"CACHEOPS_REDIS": {"host": "127.0.0.1", "port": 1}},
    "a URL": {"CACHEOPS_REDIS": "redis://127.0.0.1:1/2"},
    "Sentinel": {
        "CACHEOPS_REDIS": {},
        "CACHEOPS_SENTINEL": {"locations": [("127.0.0.1", 1)], "service_name": "shop"},
    },
    "a subclass": {"CACHEOPS_CLIENT_CLASS": type("Client", (redis.Redis,), {}), "CACHEOPS_REDIS": {"port": 1}},
}
# The tests have a longer limit than projects.
DEFAULT = {"CACHEOPS_REDIS_TIMEOUT": conf.DEFAULTS["CACHEOPS_REDIS_TIMEOUT"]}


def limits(**overrides):
    """Return the time limits of connections in seconds, and how often a command is repeated."""
    with override_settings(**{"CACHEOPS_CLIENT_CLASS": None, **DEFAULT, **overrides}):
        arguments = get_client().connection_pool.connection_kwargs
        retry = arguments.get("retry")
        return (
            arguments.get("socket_timeout"),
            arguments.get("socket_connect_timeout"),
            retry.get_retries() if retry is not None else None,
        )


@pytest.mark.parametrize("address", ADDRESSES)
def test_calls_are_limited_to_one_second_and_not_repeated(address):
    """redis-py's own defaults would let a page wait for many seconds."""
    assert limits(**ADDRESSES[address]) == (1.0, 1.0, 0)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_setting_is_the_limit(address):
    assert limits(**ADDRESSES[address], CACHEOPS_REDIS_TIMEOUT=0.25) == (0.25, 0.25, 0)


def test_what_the_address_says_is_kept_for_single_waits():
    """The limit of a whole operation applies as well: see `test_operation_limits`."""
    retry = Retry(NoBackoff(), 3)
    own = {"port": 1, "socket_timeout": 7, "socket_connect_timeout": 8, "retry": retry}
    assert limits(CACHEOPS_REDIS=own) == (7, 8, 3)
    assert limits(CACHEOPS_REDIS="redis://127.0.0.1:1/2?socket_timeout=7&socket_connect_timeout=8") == (7.0, 8.0, 0)
    own = {"locations": [("127.0.0.1", 1)], "service_name": "shop", "socket_timeout": 7}
    assert limits(CACHEOPS_REDIS={}, CACHEOPS_SENTINEL=own) == (7, 1.0, 0)


def test_none_leaves_limits_to_the_client_library():
    with redis.Redis(port=1) as plain:
        arguments = plain.connection_pool.connection_kwargs
    found = limits(CACHEOPS_REDIS={"port": 1}, CACHEOPS_REDIS_TIMEOUT=None)
    assert found[:2] == (arguments.get("socket_timeout"), arguments.get("socket_connect_timeout"))


@pytest.mark.parametrize("value", [0, -1, "1", True, float("inf"), float("nan"), [1]])
def test_an_invalid_limit_is_refused(value):
    """The error names the setting."""
    with pytest.raises(ImproperlyConfigured, match="CACHEOPS_REDIS_TIMEOUT"):
        limits(CACHEOPS_REDIS={"port": 1}, CACHEOPS_REDIS_TIMEOUT=value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("degrades", [False, True])
def test_a_redis_that_does_not_answer_is_tried_once(degrades, monkeypatch):
    """With CACHEOPS_DEGRADE_ON_FAILURE the read then comes from the database, and the next one does not wait.

    A new connection to the database, which is compared with what other processes see, has a limit of its own.  So have
    threads in the background, which may still deliver what another test owes.
    """
    Label.objects.nocache().exists()
    attempts, connect = [], redis.Connection.connect

    def noting(connection):
        attempts.append(threading.current_thread())
        connect(connection)

    monkeypatch.setattr(redis.Connection, "connect", noting)
    silence = servers.Silence()
    try:
        with override_settings(
            CACHEOPS_REDIS={"host": "127.0.0.1", "port": silence.port},
            CACHEOPS_CLIENT_CLASS=None,
            CACHEOPS_REDIS_TIMEOUT=0.2,
            CACHEOPS_DEGRADE_ON_FAILURE=degrades,
        ):
            if degrades:
                assert [list(Label.objects.all()) for _ in range(3)] == [[]] * 3
            else:
                with pytest.raises(redis.TimeoutError, match="CACHEOPS_REDIS"):
                    list(Label.objects.all())
            assert attempts.count(threading.current_thread()) == 1
    finally:
        silence.close()


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_a_wrong_password_surfaces_although_reads_degrade():
    """It is a mistake in the settings, and would stay unnoticed."""
    own = {"host": "127.0.0.1", "password": "wrong"}
    settings = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_DEGRADE_ON_FAILURE": True}
    with servers.running() as server:
        server.client().config_set("requirepass", "right")
        with override_settings(CACHEOPS_REDIS={**own, "port": server.port}, **settings):
            with pytest.raises(redis.exceptions.AuthenticationError, match="Correct username and password"):
                list(Label.objects.all())
