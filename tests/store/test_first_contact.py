"""Nodes and Sentinels that do not answer do not prolong an operation, and do not keep it from those that do."""

import random
import threading
import time
from contextlib import contextmanager, nullcontext

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings

from cacheops_lite.store import circuit_breaker, client
from tests.shop.models import Label
from tests.support import background, names, servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

LIMIT_SECONDS = 1.0
# For the database, and for a machine that runs other things as well.
MARGIN_SECONDS = 0.5
SILENT = 3
LIBRARIES = {"redis-py": "redis", "valkey-py": "valkey"}


@pytest.fixture(autouse=True)
def forget():
    """Breakers are those of the process."""
    yield
    background.forget_undelivered()
    circuit_breaker.breaker.close()
    circuit_breaker.write_breaker.close()


@pytest.fixture
def silent_ports():
    silences = [servers.Silence() for _ in range(SILENT)]
    yield [each.port for each in silences]
    for each in silences:
        each.close()


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param] if request.param == "redis-py" else pytest.importorskip("valkey").__name__


@contextmanager
def in_order(monkeypatch):
    """Let redis-py ask the nodes in the order in which they are named; it shuffles them."""
    with monkeypatch.context() as patch:
        patch.setattr(random, "shuffle", lambda nodes: None)
        yield


@contextmanager
def using(library, ports, **others):
    nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
    with override_settings(
        CACHEOPS_REDIS=f"{library}+cluster://{nodes}",
        CACHEOPS_CLIENT_CLASS=None,
        CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS,
        **others,
    ):
        yield


def labels():
    return list(Label.objects.all())


def seconds_of(function, may_raise=False):
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError) if may_raise else nullcontext():
        function()
    return time.monotonic() - began


@pytest.mark.parametrize("degrades", [False, True])
def test_a_read_waits_once_for_nodes_that_do_not_answer(silent_ports, library, degrades):
    with using(library, silent_ports, CACHEOPS_DEGRADE_ON_FAILURE=degrades):
        assert LIMIT_SECONDS / 2 < seconds_of(labels, not degrades) < LIMIT_SECONDS + MARGIN_SECONDS


def test_a_write_waits_once_for_nodes_that_do_not_answer(silent_ports, library):
    label = Label.objects.create(text="old")
    with using(library, silent_ports, CACHEOPS_DEGRADE_ON_FAILURE=True):
        label.text = "new"
        assert seconds_of(label.save) < LIMIT_SECONDS + MARGIN_SECONDS
        background.forget_undelivered()


def test_threads_do_not_wait_for_first_contact_one_after_the_other(silent_ports, library):
    with using(library, silent_ports):
        seconds = []

        def read():
            try:
                seconds.append(seconds_of(labels, may_raise=True))
            finally:
                connection.close()

        threads = [threading.Thread(target=read) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(seconds) == 6
        assert max(seconds) < LIMIT_SECONDS + 2 * MARGIN_SECONDS


def test_a_node_that_answers_is_found_behind_those_that_do_not(three_nodes, silent_ports, library, is_hit, monkeypatch):
    """First contact goes on while reads give up, until it has come to that node."""
    with in_order(monkeypatch), using(library, [*silent_ports, three_nodes.port], CACHEOPS_DEGRADE_ON_FAILURE=True):
        began, slowest = time.monotonic(), 0.0
        while client._client is None and time.monotonic() < began + 20:
            circuit_breaker.breaker.close()
            slowest = max(slowest, seconds_of(labels))
        assert client._client is not None
        assert slowest < LIMIT_SECONDS + MARGIN_SECONDS
        circuit_breaker.breaker.close()
        assert wait_until(lambda: is_hit(labels))


def test_a_node_is_found_by_a_site_with_few_requests(three_nodes, silent_ports, library, is_hit, monkeypatch):
    """The second read comes long after first contact has ended, and uses it."""
    with in_order(monkeypatch), using(library, [*silent_ports, three_nodes.port]):
        seconds_of(labels, may_raise=True)
        (call,) = client._contacts._calls.values()
        assert call.ended.wait(20)
        call._ended_at -= 3600
        assert seconds_of(labels) < LIMIT_SECONDS
        assert wait_until(lambda: is_hit(labels))


def test_a_cluster_whose_name_is_not_found_in_time_is_away(three_nodes, library, monkeypatch):
    with names.served(monkeypatch) as served:
        served.be_silent()
        nodes = f"{library}+cluster://{served.name}:{three_nodes.port}"
        with using(library, []), override_settings(CACHEOPS_REDIS=nodes):
            assert seconds_of(labels, may_raise=True) < LIMIT_SECONDS + MARGIN_SECONDS
            served.answer()
            with override_settings(CACHEOPS_REDIS_TIMEOUT=20.0):
                assert labels() == []


def test_what_is_wrong_with_the_settings_surfaces(three_nodes):
    """It is not taken for a cluster that is away."""
    with (
        override_settings(CACHEOPS_REDIS=f"redis+cluster://127.0.0.1:{three_nodes.port}/3", CACHEOPS_CLIENT_CLASS=None),
        override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True),
        pytest.raises(ImproperlyConfigured, match="one database only"),
    ):
        labels()


def test_a_client_of_other_settings_is_not_used(three_nodes, silent_ports, monkeypatch):
    """First contact may end after the settings have changed."""
    with using("redis", silent_ports):
        seconds_of(labels, may_raise=True)
    with using("redis", [three_nodes.port]):
        labels()
        assert {node.port for node in client._client.get_nodes()} == {node.port for node in three_nodes.nodes}


def test_a_client_that_was_made_while_the_settings_changed_is_not_used(three_nodes, monkeypatch):
    began, goes_on, found = threading.Event(), threading.Event(), []

    def make_client(watch):
        began.set()
        assert goes_on.wait(20)
        return "of other settings"

    with monkeypatch.context() as patch, override_settings(CACHEOPS_REDIS_TIMEOUT=20.0):
        patch.setattr(client, "make_client", make_client)
        with override_settings(CACHEOPS_REDIS=three_nodes.url, CACHEOPS_CLIENT_CLASS=None):
            thread = threading.Thread(target=lambda: found.append(client.get_client()))
            thread.start()
            assert began.wait(20)
        assert client._client is None
        goes_on.set()
        thread.join()
        assert client._client is None
    assert found == ["of other settings"]


def test_asking_for_the_slots_again_ends_with_the_limit(three_nodes, library, monkeypatch):
    """A node answers late; the next time, it is asked anew."""
    with using(library, [three_nodes.port]):
        labels()
        nodes, answers, calls = client._client.nodes_manager, threading.Event(), []

        def initialize():
            calls.append(1)
            assert answers.wait(20)

        monkeypatch.setattr(nodes, "initialize", initialize)
        direct = client._direct_client
        assert seconds_of(direct.refresh, may_raise=True) < LIMIT_SECONDS + MARGIN_SECONDS
        direct._refresh_at = 0.0
        assert seconds_of(direct.refresh, may_raise=True) < LIMIT_SECONDS + MARGIN_SECONDS
        assert len(calls) == 1
        answers.set()
        assert wait_until(lambda: nodes.initialize is initialize and _ended(direct))
        direct._refresh_at = 0.0
        direct.refresh()
        assert len(calls) == 2


def _ended(direct):
    from cacheops_lite.store import cluster_client

    return cluster_client._refreshes._calls[direct].ended.is_set()


@pytest.mark.parametrize("first", ["silent", "refused", "deaf"])
def test_a_sentinel_that_does_not_answer_leaves_time_for_the_others(tmp_path, server, library, first):
    """The Sentinels are asked one after the other, each of them once."""
    silence, port = servers.Silence(), servers.free_port()
    with servers.DeafPort() as deaf, servers.sentinel(tmp_path, server) as options:
        place = ("127.0.0.1", {"silent": silence.port, "refused": port, "deaf": deaf.number}[first])
        own = {**options, "locations": [place, *options["locations"]]}
        with override_settings(
            CACHEOPS_REDIS={},
            CACHEOPS_SENTINEL=own,
            CACHEOPS_CLIENT_CLASS=None if library == "redis" else "valkey.Valkey",
            CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS,
        ):
            assert seconds_of(labels) < LIMIT_SECONDS
    silence.close()
