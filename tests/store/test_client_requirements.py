"""Clients and options that would make results wrong are refused at first use; the error says what to write."""

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from redis.cache import CacheConfig, CacheFactory

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client
from tests.support import servers

URL = "redis://127.0.0.1:1/0"


def decoding_pool():
    return redis.ConnectionPool.from_url(URL, decode_responses=True)


def caching_pool():
    return redis.ConnectionPool.from_url(URL, protocol=3, cache=CacheFactory(CacheConfig()).get_cache())


def decoding_client(**options):
    return redis.Redis(decode_responses=True)


def useless_client(**options):
    return object()


SENTINEL = {"locations": [("127.0.0.1", 1)], "service_name": "m"}
REFUSED = {
    "decode_responses in a dict": ({"CACHEOPS_REDIS": {"decode_responses": True}}, "Leave decode_responses out of CAC"),
    "in a URL": ({"CACHEOPS_REDIS": f"{URL}?decode_responses=true"}, "CACHEOPS_REDIS has decode_responses: .* bytes"),
    "false in a URL": ({"CACHEOPS_REDIS": f"{URL}?decode_responses=false"}, "a text that is not empty"),
    "with Sentinel": ({"CACHEOPS_SENTINEL": {**SENTINEL, "decode_responses": True}}, "CACHEOPS_SENTINEL has decode_re"),
    "in a pool": ({"CACHEOPS_REDIS": {"connection_pool": decoding_pool}}, "CACHEOPS_REDIS has decode_responses"),
    "in a function": ({"CACHEOPS_CLIENT_CLASS": decoding_client}, "CACHEOPS_REDIS has decode_responses"),
    "redis-py's cache": ({"CACHEOPS_REDIS": {"cache_config": CacheConfig(), "protocol": 3}}, "cache_config: .* stale"),
    "without RESP3": ({"CACHEOPS_REDIS": {"cache_config": CacheConfig(), "protocol": 2}}, "has cache_config"),
    "its instance": ({"CACHEOPS_REDIS": {"cache": CacheFactory(CacheConfig()).get_cache()}}, "has cache: .* stale"),
    "in a pool of the project": ({"CACHEOPS_REDIS": {"connection_pool": caching_pool}}, "has cache_config: .* stale"),
    "cache with Sentinel": (
        {"CACHEOPS_SENTINEL": {**SENTINEL, "cache_config": CacheConfig()}},
        "_SENTINEL has c",
    ),
    "asyncio": ({"CACHEOPS_CLIENT_CLASS": "redis.asyncio.Redis"}, "CACHEOPS_CLIENT_CLASS makes a Redis, .*coroutines"),
    "no client": (
        {"CACHEOPS_CLIENT_CLASS": useless_client},
        "an? object, which lacks execute_command, ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_make_results_wrong_is_refused_at_first_use(case):
    """The message names the setting, says why, and what to write instead."""
    overrides, said = REFUSED[case]
    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {}, "CACHEOPS_CLIENT_CLASS": None, **overrides}
    if callable(make_pool := getattr(overrides["CACHEOPS_REDIS"], "get", {}.get)("connection_pool")):
        overrides["CACHEOPS_REDIS"] = {"connection_pool": make_pool()}
    with override_settings(**overrides), pytest.raises(ImproperlyConfigured, match=said):
        get_client()


@pytest.mark.parametrize(
    ("library", "options"),
    [("valkey", {"decode_responses": True}), ("valkey", {"cache_enabled": True, "protocol": 3})],
)
def test_options_of_valkey_py_are_refused_as_well(library, options):
    """Its cache is its own, and is turned on by other arguments."""
    pytest.importorskip(library)
    for address in (options, {"connection_pool": __import__(library).ConnectionPool(**options)}):
        with override_settings(CACHEOPS_REDIS=address, CACHEOPS_CLIENT_CLASS="valkey.Valkey"):
            with pytest.raises(ImproperlyConfigured, match=f"CACHEOPS_REDIS has {next(iter(options))}"):
                get_client()


def test_burner_redis_is_refused():
    """It runs inside the process like the embedded Redis, but is for asynchronous code and lacks commands."""
    pytest.importorskip("burner_redis")
    with override_settings(CACHEOPS_REDIS={}, CACHEOPS_CLIENT_CLASS="burner_redis.BurnerRedis"):
        with pytest.raises(ImproperlyConfigured, match="BurnerRedis, which lacks execute_command, scan"):
            get_client()


def test_a_pool_that_several_clients_use_reports_to_the_last_one():
    """Each change of a setting makes a new client: they must not form a chain."""
    with servers.running() as server:
        noted = []

        def note(connection):
            connection.on_connect()
            noted.append(connection)

        pool = redis.ConnectionPool.from_url(server.url, redis_connect_func=note)
        for _ in range(3):
            with override_settings(CACHEOPS_REDIS={"connection_pool": pool}, CACHEOPS_CLIENT_CLASS=None):
                get_client()
                watch = cacheops_redis._watch
        assert pool.connection_kwargs["redis_connect_func"] == watch.note_connection
        assert watch._on_connect is note
        redis.Redis(connection_pool=pool).ping()
        assert len(noted) == 1
        assert watch.epoch
