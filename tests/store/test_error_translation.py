"""Errors of valkey-py are errors of redis-py as well, so that each ``except redis.RedisError`` catches them."""

import pickle

import pytest
import redis
from django.core.management import call_command
from django.test import override_settings

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client
from cacheops_lite.store.client_library import ClientLibrary
from cacheops_lite.store.error_translation import translate_errors
from cacheops_lite.store.limited_connection import unlimited_class
from tests.support import servers
from tests.support.ways import tcp, valkey_py

pytestmark = pytest.mark.redis


@pytest.fixture
def by_valkey_py(tmp_path):
    with valkey_py(tmp_path) as (server, settings), override_settings(**settings):
        yield server


def provoke(server, kind):
    client = get_client()
    if kind == "WrongType":
        client.lpush("list", 1)
        client.get("list")
    elif kind == "in a transaction":
        client.lpush("list", 1)
        pipe = client.pipeline(transaction=True)
        pipe.set("a", 1).incr("list")
        pipe.execute()
    elif kind == "NoScriptError":
        client.evalsha("0" * 40, 0)
    elif kind == "AuthenticationError":
        server.client().config_set("requirepass", "other")
        client.connection_pool.disconnect()
        client.ping()
    elif kind == "ReadOnlyError":
        server.client().replicaof("127.0.0.1", servers.free_port())
        client.set("a", 1)
    elif kind == "OutOfMemoryError":
        server.client().config_set("maxmemory", 1)
        client.set("a", 1)


ERRORS = {
    "WrongType": "ResponseError",
    "in a transaction": "ResponseError",
    "NoScriptError": "NoScriptError",
    "AuthenticationError": "AuthenticationError",
    "ReadOnlyError": "ReadOnlyError",
    "OutOfMemoryError": "OutOfMemoryError",
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_of_valkey_py_are_errors_of_both_libraries(by_valkey_py, kind):
    """They keep their text, and can be pickled, as task queues do."""
    valkey = pytest.importorskip("valkey")
    with pytest.raises(redis.RedisError) as raised:
        provoke(by_valkey_py, kind)
    error = raised.value
    assert isinstance(error, getattr(redis.exceptions, ERRORS[kind]))
    assert isinstance(error, getattr(valkey.exceptions, ERRORS[kind]))
    assert type(error).__name__ == ERRORS[kind]
    assert type(pickle.loads(pickle.dumps(error))) is getattr(valkey.exceptions, ERRORS[kind])
    assert repr(error)


def test_an_exhausted_pool_of_valkey_py_raises_an_error_of_both_libraries(tmp_path):
    valkey = pytest.importorskip("valkey")
    with tcp(tmp_path, "valkey.Valkey", "?max_connections=1") as (_, settings), override_settings(**settings):
        client = get_client()
        taken = client.connection_pool.get_connection("GET")
        with pytest.raises(redis.ConnectionError) as raised:
            client.get("a")
        assert isinstance(raised.value, valkey.ConnectionError)
        client.connection_pool.release(taken)
        assert client.get("a") is None


def test_other_exceptions_pass_through_the_connections_of_a_fork(by_valkey_py, monkeypatch):
    """Time limits of task queues raise them anywhere."""

    class Interrupt(Exception):
        pass

    def interrupt(*args, **kwargs):
        raise Interrupt

    client = get_client()
    assert client.ping()
    connection = client.connection_pool.get_connection("GET")
    monkeypatch.setattr(connection._parser, "read_response", interrupt)
    connection.send_command("PING")
    with pytest.raises(Interrupt):
        connection.read_response()


def test_clients_of_redis_py_are_left_as_they_are(tmp_path):
    with tcp(tmp_path) as (_, settings), override_settings(**settings):
        client = get_client()
        connection_class = client.connection_pool.connection_class
        assert unlimited_class(connection_class) is redis.Connection
        translate_errors(client, ClientLibrary("redis"))
        assert client.connection_pool.connection_class is connection_class
        assert cacheops_redis._direct()._is_supported


def test_a_pool_that_wants_the_name_of_a_command_lends_connections_without(tmp_path, monkeypatch):
    """That of redis-py before 5.3 does."""
    lend = redis.ConnectionPool.get_connection

    def get_connection(self, command_name, *keys, **options):
        return lend(self)

    with tcp(tmp_path) as (_, settings), override_settings(**settings):
        monkeypatch.setattr(redis.ConnectionPool, "get_connection", get_connection)
        pool = get_client().connection_pool
        pool.release(pool.get_connection())
        pool.release(pool.get_connection("GET"))
        call_command("cacheops", "doctor", verbosity=0)
