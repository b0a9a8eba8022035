"""Connections of each client library observe the limit of an operation."""

import time

import pytest
import redis
from django.test import override_settings

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
