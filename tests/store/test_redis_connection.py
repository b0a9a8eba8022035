"""Direct connections: every command gets its own reply, and no reply differs from that of redis-py."""

import os
import threading
from contextlib import suppress

import pytest
import redis

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import connection_support, keys, redis_connection
from cacheops_lite.store.client import execute, get_client, run_script, send_script
from cacheops_lite.store.redis_connection import DirectClient
from tests.support import fast_paths, services

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(
        not connection_support._IS_SUPPORTED_REDIS_PY, reason="direct connections need another redis-py"
    ),
]


@pytest.fixture
def client():
    """A client of its own, with its own pool."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    client = redis.Redis.from_url(services.REDIS_URL)
    yield client
    client.delete("wire", "wire:1", "wire:2")
    client.close()


def ignore(error):
    """Ignore the error: these tests do not need the replies."""


def connections(direct_client):
    return [kept.connection for kept in direct_client._idle]


def test_replies_equal_those_of_redis_py(client, monkeypatch):
    """This applies to values, nil, errors and large replies."""
    commands = [
        ("MGET", "wire:1", "wire:nothing", "wire:2"),
        ("EVALSHA", "0" * 40, 0),
        ("GET",),
        ("EVAL", "return {1, 'two', false, {3}}", 0),
        ("MGET", "wire:2"),
    ]

    def replies(direct_client):
        for command in commands:
            try:
                yield direct_client.execute(*command)
            except redis.ResponseError as error:
                yield type(error), str(error)

    client.set("wire:1", b"\x00\r\n$5" * 50_000)
    fast = DirectClient(client)
    assert fast._is_supported
    monkeypatch.setattr(*fast_paths.switched("kept connections", False))
    by_redis_py = DirectClient(client)
    assert not by_redis_py._is_supported
    assert list(replies(fast)) == list(replies(by_redis_py))
    assert len(connections(fast)) == 1
    assert not connections(by_redis_py)


def test_a_connection_that_the_server_closed_is_replaced(client):
    """The server closes it by a restart or by its timeout for idle clients."""
    direct_client = DirectClient(client)
    client.set("wire", "before")
    direct_client.execute("GET", "wire")
    (kept,) = connections(direct_client)
    client.execute_command("CLIENT", "KILL", "ID", direct_client.execute("CLIENT", "ID"))
    assert direct_client.execute("GET", "wire") == b"before"
    assert kept not in connections(direct_client)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, redis.TimeoutError, MemoryError, redis.ConnectionError])
def test_an_unread_reply_is_never_the_reply_to_another_command(client, monkeypatch, interrupt):
    """An interrupt between a command and its reply leaves the reply unread."""
    client.mset({"wire:1": "one", "wire:2": "two"})
    direct_client = DirectClient(client)
    direct_client.execute("GET", "wire:1")
    (kept,) = connections(direct_client)

    def interrupted(*args, **options):
        monkeypatch.undo()
        raise interrupt

    monkeypatch.setattr(kept, "read_response", interrupted)
    with suppress(interrupt):
        assert direct_client.execute("GET", "wire:1") == b"one"
    assert direct_client.execute("GET", "wire:2") == b"two"
    assert client.get("wire:2") == b"two"


def test_timeouts_are_retried_as_often_as_the_client_is_configured_to(client):
    """Without retries a command takes one timeout at most."""
    tries = []

    class Mute(redis.Connection):
        def send_command(self, *args, **options):
            if args[0] == "GET":
                tries.append(args)
                raise redis.TimeoutError
            super().send_command(*args, **options)

    for retry in (redis.retry.Retry(redis.backoff.NoBackoff(), 0), redis.retry.Retry(redis.backoff.NoBackoff(), 2)):
        tries.clear()
        mute = redis.Redis.from_url(services.REDIS_URL, retry=retry)
        direct_client = DirectClient(mute)
        direct_client.execute("PING")
        (kept,) = connections(direct_client)
        kept.__class__ = Mute
        with pytest.raises(redis.TimeoutError):
            direct_client.execute("GET", "wire")
        assert len(tries) == (2 + retry.get_retries() if retry.get_retries() else 1)
        mute.close()


def test_a_connection_in_use_is_not_given_to_another_caller(client, monkeypatch):
    """A signal handler, finalizer or greenlet that runs meanwhile uses another connection."""
    client.mset({"wire:1": "one", "wire:2": "two"})
    direct_client = DirectClient(client)
    direct_client.execute("PING")
    (kept,) = connections(direct_client)
    read, inner = kept.read_response, []

    def read_after_another_command(*args, **options):
        monkeypatch.undo()
        inner.append(direct_client.execute("GET", "wire:2"))
        return read(*args, **options)

    monkeypatch.setattr(kept, "read_response", read_after_another_command)
    assert direct_client.execute("GET", "wire:1") == b"one"
    assert inner == [b"two"]
    assert len(connections(direct_client)) == 2


def test_threads_get_their_own_replies(client):
    """There are no more connections than threads."""
    direct_client, wrong = DirectClient(client), []

    def send_echoes(number):
        for i in range(300):
            if direct_client.execute("ECHO", f"{number} {i}") != f"{number} {i}".encode():
                wrong.append((number, i))

    threads = [threading.Thread(target=send_echoes, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(connections(direct_client)) <= 8


def test_a_forked_child_does_not_use_its_parent_s_connections(client, monkeypatch):
    """It makes its own."""
    direct_client = DirectClient(client)
    direct_client.execute("PING")
    (kept,) = connections(direct_client)
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert direct_client.execute("GET", "wire") is None
    assert kept not in connections(direct_client)


def test_connections_of_a_small_pool_remain_for_other_callers():
    client = redis.Redis.from_url(services.REDIS_URL, max_connections=2)
    direct_client = DirectClient(client)
    taken = [direct_client._acquire(), direct_client._acquire()]
    for kept in taken:
        direct_client._send(ignore, False, kept, ["ECHO", "the reply is not awaited"], None)
        direct_client.put_back(kept)
    assert len(connections(direct_client)) == 1
    # This uses the other connection.
    assert client.ping() is True
    assert direct_client.execute("ECHO", "that") == b"that"
    client.close()


@pytest.mark.parametrize("on_class", [True, False])
def test_tracers_of_commands_see_all_commands(client, monkeypatch, on_class):
    """Tracers replace a method, and some do so late."""
    direct_client, seen = DirectClient(client), []
    direct_client.execute("PING")
    execute = redis.Redis.execute_command

    def traced(*args, **options):
        seen.append(args[-1])
        return execute(*args, **options) if on_class else execute(client, *args, **options)

    monkeypatch.setattr(redis.Redis if on_class else client, "execute_command", traced)
    direct_client.execute("PING")
    assert seen == ["PING"]
    monkeypatch.undo()
    direct_client.execute("PING")
    assert seen == ["PING"]


def test_other_kinds_of_clients_are_called_as_usual():
    """Only the client knows how to send a command: clusters, sentinels, blocking pools, fakes, subclasses."""

    class Own(redis.Redis):
        pass

    url = services.REDIS_URL
    waiting = redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(url))
    for client in (Own.from_url(url), waiting, redis.Redis.from_url(url, single_connection_client=True)):
        assert not DirectClient(client)._is_supported
        client.close()
    assert not DirectClient(object())._is_supported


def test_commands_sent_without_waiting_are_executed_in_order(client):
    """The next command on the connection gets its own reply."""
    direct_client = DirectClient(client)
    for number in range(3 * redis_connection.MAX_PENDING_REPLIES):
        direct_client.send(ignore, "SET", "wire:1", number)
        direct_client.send(ignore, "ECHO", "x" * 100_000)
        if number % 5 == 0:
            assert direct_client.execute("GET", "wire:1") == str(number).encode()
    assert direct_client.execute("GET", "wire:1") == str(number).encode()
    assert len(connections(direct_client)) == 1


def test_the_error_of_a_command_is_reported_to_its_sender(client):
    """The next command does not raise it, and the callbacks of other commands are not called."""
    errors_by_command = {"first": [], "fine": [], "second": []}
    direct_client = DirectClient(client)
    direct_client.send(errors_by_command["first"].append, "GET")
    direct_client.send(errors_by_command["fine"].append, "GET", "wire")
    direct_client.send(errors_by_command["second"].append, "EVALSHA", "0" * 40, 0)
    assert not any(errors_by_command.values())
    assert direct_client.execute("ECHO", "that") == b"that"
    assert {name: [*map(type, errors)] for name, errors in errors_by_command.items()} == {
        "first": [redis.ResponseError],
        "fine": [],
        "second": [redis.exceptions.NoScriptError],
    }


def test_the_error_of_a_command_is_reported_although_another_connection_was_used_since(client):
    """The next command reads what is pending: it may say that a fence was not released."""
    direct_client, errors = DirectClient(client), []
    client.set("wire", "text")
    other = direct_client.start([(("GET", "wire"), None)])
    direct_client.send(errors.append, "SADD", "wire", "x")
    assert direct_client.finish(other, [(("GET", "wire"), None)]) == [b"text"]
    direct_client.put_back(other)
    assert direct_client.execute("GET", "wire") == b"text"
    assert len(errors) == 1


def kill(connection):
    """Let the server close the connection."""
    # CLIENT LIST returns several connections; the port identifies this one.
    port = connection._sock.getsockname()[1]
    with redis.Redis.from_url(services.REDIS_URL) as other:
        (name,) = [each["id"] for each in other.client_list() if each["addr"].endswith(f":{port}")]
        other.client_kill_filter(_id=name)


@pytest.mark.parametrize("closed_by", ["the server", "this process"])
def test_replies_of_a_closed_connection_are_not_awaited(client, closed_by):
    """The senders of the commands get an error, as the commands may be lost."""
    client.set("wire:1", "one")
    direct_client, lost = DirectClient(client), []
    # This command gets no reply.
    direct_client.send(lost.append, "BLPOP", "wire", 0)
    direct_client.send(lost.append, "ECHO", "lost, too")
    (kept,) = connections(direct_client)
    if closed_by == "the server":
        kill(kept)
    else:
        client.connection_pool.disconnect()
    assert direct_client.execute("GET", "wire:1") == b"one"
    assert [*map(type, lost)] == [redis.ConnectionError] * 2


def test_health_checks_get_their_own_replies():
    """A health check precedes a command and reads one reply."""
    healthy = redis.Redis.from_url(services.REDIS_URL, health_check_interval=60)
    direct_client, used = DirectClient(healthy), set()
    for number in range(5):
        direct_client.send(ignore, "SET", "wire:2", number)
        (kept,) = connections(direct_client)
        # A health check is due.
        kept.next_health_check = 0
        assert direct_client.execute("GET", "wire:2") == str(number).encode()
        used.add(kept._sock)
    assert len(used) == 1
    healthy.delete("wire:2")
    healthy.close()


def test_a_command_for_a_closed_connection_is_sent_by_redis_py(client):
    """After the server closed it, a connection accepts one more command, which would be lost."""
    direct_client = DirectClient(client)
    direct_client.execute("PING")
    (kept,) = connections(direct_client)
    kill(kept)
    direct_client.send(ignore, "SET", "wire:1", "done", check_connection=True)
    assert client.get("wire:1") == b"done"


@pytest.mark.parametrize("is_plain", [True, False])
def test_scripts_sent_without_waiting_are_loaded_again(separate_store, monkeypatch, is_plain):
    """The call that finds no script on the server is lost, the next one is not; with waiting, no call is lost."""
    monkeypatch.setattr(*fast_paths.switched("kept connections", is_plain))
    monkeypatch.setattr(cacheops_redis, "_direct_client", None)
    lock, lines = keys.lock_key(keys.value_key("", "wire")), ["token"]
    send_script("release", [lock], lines)
    get_client().script_flush()
    for _ in range(3 if is_plain else 1):
        separate_store.set(lock, "token")
        send_script("release", [lock], lines)
        execute("ECHO", "this settles it")
    assert not separate_store.exists(lock)


def test_scripts_are_loaded_again_after_a_script_flush(separate_store):
    """The server also has no scripts after a restart."""
    for _ in range(2):
        assert run_script("release", ["wire"], ["token"]) == 0
        get_client().script_flush()
