"""Connections of each client library observe the limit of an operation."""

import socket
import time

import pytest
import redis
from django.test import override_settings

from cacheops_lite.store.client import get_client
from tests.shop.models import Label
from tests.support import servers
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

LIMIT_SECONDS = 0.5
CLIENTS = [None, "tests.support.clients.OwnRedis", "tests.support.clients.BlockingRedis", "valkey.Valkey"]


@pytest.mark.parametrize("client_class", CLIENTS)
def test_replies_that_come_byte_by_byte_do_not_prolong_a_read(client_class):
    """Each wait for the next bytes is short, so that the time limit of the socket is never reached."""
    if client_class and "valkey" in client_class:
        pytest.importorskip("valkey")
    Label.objects.create(text="a")
    with servers.running() as server:
        proxy = Proxy(server.port)
        address = f"redis://127.0.0.1:{proxy.port}/0"
        with override_settings(
            CACHEOPS_REDIS=address, CACHEOPS_CLIENT_CLASS=client_class, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS
        ):
            list(Label.objects.all())
            proxy.is_trickling = True
            began = time.monotonic()
            with pytest.raises(redis.RedisError):
                list(Label.objects.all())
            assert time.monotonic() - began < 3 * LIMIT_SECONDS
        proxy.close()


def test_a_server_that_accepts_connections_but_no_tls_handshake_is_left_in_time():
    """A stopped server does so, because the system accepts connections for it.  The settings allow longer waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = {"host": "127.0.0.1", "port": listener.getsockname()[1], "ssl": True, "socket_timeout": 20}
        with override_settings(CACHEOPS_REDIS=own, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS):
            began = time.monotonic()
            with pytest.raises(redis.RedisError):
                list(Label.objects.all())
            assert time.monotonic() - began < 3 * LIMIT_SECONDS


def test_a_connection_keeps_its_own_timeout(monkeypatch):
    """The limit of the handshake is not that of later waits."""
    with servers.running() as server:
        own = {"host": "127.0.0.1", "port": server.port, "socket_timeout": 0.2}
        with override_settings(CACHEOPS_REDIS=own, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS):
            connection = get_client().connection_pool.get_connection()
            assert connection.socket_timeout == 0.2
            assert connection._sock.gettimeout() == pytest.approx(0.2)
            get_client().connection_pool.release(connection)
