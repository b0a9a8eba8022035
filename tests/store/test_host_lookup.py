"""Looking up the name of the host of Redis is part of an operation, and ends with its time limit."""

import gc
import os
import socket
import threading
import time
import weakref
from contextlib import nullcontext, suppress
from urllib.parse import quote

import pytest
import redis
from django.test import override_settings

from cacheops_lite.store import circuit_breaker, client, host_lookup, shared_work
from tests.shop.models import Label
from tests.support import background, names, servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

LIMIT_SECONDS = 1.0
# For the database, and for a machine that runs other things as well.
MARGIN_SECONDS = 0.5
CLIENTS = [None, "tests.support.clients.OwnRedis", "tests.support.clients.BlockingRedis", "valkey.Valkey"]


@pytest.fixture(autouse=True)
def forget():
    """Lookups and breakers are those of the process."""
    yield
    host_lookup._lookups.forget()
    background.forget_undelivered()
    circuit_breaker.breaker.close()
    circuit_breaker.write_breaker.close()


@pytest.fixture
def names_served(monkeypatch):
    with names.served(monkeypatch) as served:
        yield served


def using(url, client_class=None, **others):
    return override_settings(
        CACHEOPS_REDIS=url, CACHEOPS_CLIENT_CLASS=client_class, CACHEOPS_REDIS_TIMEOUT=LIMIT_SECONDS, **others
    )


def url_of(server, name="cache.example"):
    return f"redis://{name}:{server.port}/0"


def labels():
    return list(Label.objects.all())


def seconds_of(function, may_raise=False):
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError, match="name server") if may_raise else nullcontext():
        function()
    return time.monotonic() - began


@pytest.mark.parametrize("client_class", CLIENTS)
def test_a_read_waits_in_time_for_a_name_server_that_does_not_answer(server, names_served, client_class):
    """The error says what did not answer."""
    if client_class and "valkey" in client_class:
        pytest.importorskip("valkey")
    names_served.be_silent()
    with using(url_of(server), client_class):
        assert LIMIT_SECONDS / 2 < seconds_of(labels, may_raise=True) < LIMIT_SECONDS + MARGIN_SECONDS


def test_only_the_first_of_reads_that_degrade_waits_for_it(server, names_served):
    names_served.be_silent()
    with using(url_of(server), CACHEOPS_DEGRADE_ON_FAILURE=True):
        assert LIMIT_SECONDS / 2 < seconds_of(labels) < LIMIT_SECONDS + MARGIN_SECONDS
        assert seconds_of(labels) < MARGIN_SECONDS


def test_a_write_waits_in_time_for_it_and_is_delivered_afterwards(server, names_served):
    label = Label.objects.create(text="old")
    names_served.be_silent()
    with using(url_of(server), CACHEOPS_DEGRADE_ON_FAILURE=True):
        label.text = "new"
        assert seconds_of(label.save) < LIMIT_SECONDS + MARGIN_SECONDS
        names_served.answer()
        assert wait_until(lambda: not background.is_anything_owed())


def test_the_own_timeout_of_a_connection_limits_a_lookup_as_well(server, names_served):
    names_served.be_silent()
    own = {"host": names_served.name, "port": server.port, "socket_connect_timeout": 0.1}
    with using(own), override_settings(CACHEOPS_REDIS_TIMEOUT=10.0):
        assert seconds_of(labels, may_raise=True) < 2


def test_an_answer_that_comes_too_late_serves_the_next_read(server, names_served, is_hit):
    """A resolver that always needs longer than the limit would otherwise never lead to a connection."""
    names_served.be_silent()
    with using(url_of(server)):
        seconds_of(labels, may_raise=True)
        names_served.answer()
        labels()
        assert is_hit(labels)
    assert names_served.lookups == 1


def test_an_answer_is_not_kept_for_later_connections(server, names_served):
    """The address of a name may change, as it does when a managed service fails over."""
    with using(url_of(server)):
        labels()
        client.get_client().connection_pool.disconnect()
        client._direct_client.close()
        names_served.addresses = ["127.0.0.2"]
        with pytest.raises(redis.ConnectionError):
            labels()
    assert names_served.lookups == 2


def test_an_answer_that_came_late_is_forgotten_after_a_while(server, names_served, monkeypatch):
    monkeypatch.setattr(host_lookup._lookups, "_kept_seconds", 0.0)
    names_served.be_silent()
    with using(url_of(server)):
        seconds_of(labels, may_raise=True)
        names_served.answer()
        call = host_lookup._lookups._calls[names_served.name, 0]
        assert call.ended.wait(20)
        labels()
    assert names_served.lookups == 2


def test_threads_share_a_lookup(server, names_served):
    """Each that waited in vain would otherwise leave a thread behind, which waits for the name server."""
    names_served.be_silent()
    seconds = []

    def look_up():
        with pytest.raises(shared_work.TooLate):
            began = time.monotonic()
            try:
                host_lookup.addresses_of(names_served.name, server.port, 0, 0.2)
            finally:
                seconds.append(time.monotonic() - began)

    threads = [threading.Thread(target=look_up) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(seconds) == 8
    assert max(seconds) < 0.2 + MARGIN_SECONDS
    assert names_served.lookups == 1


def test_an_unknown_name_is_an_error_of_the_connection(server, names_served):
    names_served.addresses = []
    with using(url_of(server)), pytest.raises(redis.ConnectionError, match=r"cache\.example"):
        labels()


def test_an_address_is_not_looked_up(server, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a lookup")

    monkeypatch.setattr(host_lookup, "addresses_of", refuse)
    with using(server.url):
        labels()
    for address in ("10.0.0.1", "::1", "fe80::1%eth0"):
        assert host_lookup.is_address(address)
    for name in ("localhost", "cache.example", "10.0.0.1.example"):
        assert not host_lookup.is_address(name)


def test_the_interface_of_a_local_address_is_part_of_it():
    assert host_lookup._text_of(("fe80::1", 6379, 0, 3)) == "fe80::1%3"
    assert host_lookup._text_of(("::1", 6379, 0, 0)) == "::1"
    assert host_lookup._text_of(("10.0.0.1", 6379)) == "10.0.0.1"


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.1"], ["127.0.0.3", "127.0.0.2", "127.0.0.1"]])
def test_an_address_that_does_not_answer_leaves_time_for_the_others(server, names_served, addresses):
    """Of a host with two addresses, the first is often one that can't be reached from here."""
    names_served.addresses = addresses
    with servers.DeafPort("127.0.0.2", server.port), using(url_of(server)):
        assert seconds_of(labels) < LIMIT_SECONDS + MARGIN_SECONDS


@pytest.mark.parametrize(("name", "fits"), [("localhost", True), ("cache.example", False)])
def test_a_certificate_is_compared_with_the_name(tmp_path, monkeypatch, name, fits):
    """The certificate is for the name localhost and the address 127.0.0.1."""
    pem, key = servers.certificate(tmp_path)
    port = servers.free_port()
    options = servers.tls_options(port, pem, key)
    if not servers.accepts(options):
        pytest.skip("this server is built without TLS")
    url = f"rediss://{name}:{port}/0?ssl_ca_certs={quote(str(pem))}&ssl_check_hostname=true"
    with servers.running(*options), names.served(monkeypatch), using(url):
        with nullcontext() if fits else pytest.raises(redis.ConnectionError, match="certificate"):
            labels()


def test_an_error_that_came_late_is_raised_once(names_served, monkeypatch):
    """The next lookup after it asks again, at the latest after some seconds."""
    names_served.be_silent()
    names_served.addresses = []
    with pytest.raises(shared_work.TooLate):
        host_lookup.addresses_of(names_served.name, 1, 0, 0.1)
    names_served.answer()
    with pytest.raises(socket.gaierror):
        host_lookup.addresses_of(names_served.name, 1, 0, 20)
    names_served.addresses = ["127.0.0.1"]
    assert host_lookup.addresses_of(names_served.name, 1, 0, 20) == ["127.0.0.1"]
    assert names_served.lookups == 2


def test_an_error_that_came_long_ago_is_not_raised(names_served, monkeypatch):
    monkeypatch.setattr(shared_work, "ERROR_SECONDS", 0.0)
    names_served.be_silent()
    names_served.addresses = []
    with pytest.raises(shared_work.TooLate):
        host_lookup.addresses_of(names_served.name, 1, 0, 0.1)
    call = host_lookup._lookups._calls[names_served.name, 0]
    names_served.answer()
    assert call.ended.wait(20)
    names_served.addresses = ["127.0.0.1"]
    assert host_lookup.addresses_of(names_served.name, 1, 0, 20) == ["127.0.0.1"]


def test_a_child_process_does_not_wait_for_a_lookup_of_its_parent(names_served):
    """The thread that looks up does not exist there."""
    names_served.be_silent()
    with pytest.raises(shared_work.TooLate):
        host_lookup.addresses_of(names_served.name, 1, 0, 0.1)
    child = os.fork()
    if child == 0:
        names_served.answer()
        try:
            found = host_lookup.addresses_of(names_served.name, 1, 0, 10)
            os._exit(0 if found == ["127.0.0.1"] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Local:
    """What a frame refers to."""


def test_an_error_keeps_no_frames_alive(names_served, monkeypatch):
    """They might hold what an application wants to see gone: the callback of a transaction that was rolled back."""
    names_served.addresses = []

    def fail():
        local = Local()
        with suppress(socket.gaierror):
            host_lookup.addresses_of(names_served.name, 1, 0, 20)
        return weakref.ref(local)

    gc.disable()
    try:
        found = fail()
        assert wait_until(lambda: found() is None)
    finally:
        gc.enable()
