"""Connections kept at hand: every command gets its own reply, whatever happens to them; none differs."""

import os
import threading
from contextlib import suppress

import pytest
import redis

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import keys, redis_connection
from cacheops_lite.store.client import execute, get_client, run_script, send_script
from cacheops_lite.store.redis_connection import DirectClient
from tests.support import services

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(not redis_connection._IS_SUPPORTED_REDIS_PY, reason="all goes the usual way with this redis-py"),
]


@pytest.fixture
def client():
    """A client of its own."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    client = redis.Redis.from_url(services.REDIS_URL)
    yield client
    client.delete("wire", "wire:1", "wire:2")
    client.close()


def ignore(error):
    """Whoever does not care what becomes of what he sent."""


def connections(line):
    return [kept.connection for kept in line._idle]


def test_replies_are_those_of_the_client(client, monkeypatch):
    """Of each kind: values, nothing, errors, and big ones."""
    commands = [
        ("MGET", "wire:1", "wire:nothing", "wire:2"),
        ("EVALSHA", "0" * 40, 0),
        ("GET",),
        ("EVAL", "return {1, 'two', false, {3}}", 0),
        ("MGET", "wire:2"),
    ]

    def replies(line):
        for command in commands:
            try:
                yield line.execute(*command)
            except redis.ResponseError as error:
                yield type(error), str(error)

    client.set("wire:1", b"\x00\r\n$5" * 50_000)
    fast = DirectClient(client)
    assert fast._is_supported
    monkeypatch.setattr(redis_connection, "ENABLED", False)
    usual = DirectClient(client)
    assert not usual._is_supported
    assert list(replies(fast)) == list(replies(usual))
    assert len(connections(fast)) == 1
    assert not connections(usual)


def test_a_connection_that_the_server_closed_is_made_anew(client):
    """As after a restart of the server, or its timeout for idle clients."""
    line = DirectClient(client)
    client.set("wire", "before")
    line.execute("GET", "wire")
    (kept,) = connections(line)
    client.execute_command("CLIENT", "KILL", "ID", line.execute("CLIENT", "ID"))
    assert line.execute("GET", "wire") == b"before"
    assert kept not in connections(line)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, redis.TimeoutError, MemoryError, redis.ConnectionError])
def test_no_command_gets_the_reply_to_another(client, monkeypatch, interrupt):
    """Whatever comes between a command and its reply, nobody reads that reply later."""
    client.mset({"wire:1": "one", "wire:2": "two"})
    line = DirectClient(client)
    line.execute("GET", "wire:1")
    (kept,) = connections(line)

    def interrupted(*args, **options):
        monkeypatch.undo()
        raise interrupt

    monkeypatch.setattr(kept, "read_response", interrupted)
    with suppress(interrupt):
        assert line.execute("GET", "wire:1") == b"one"
    assert line.execute("GET", "wire:2") == b"two"
    assert client.get("wire:2") == b"two"


def test_a_timeout_is_tried_again_as_often_as_the_client_is_told_to(client):
    """With no retries one timeout is all that a command takes."""
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
        line = DirectClient(mute)
        line.execute("PING")
        (kept,) = connections(line)
        kept.__class__ = Mute
        with pytest.raises(redis.TimeoutError):
            line.execute("GET", "wire")
        assert len(tries) == (2 + retry.get_retries() if retry.get_retries() else 1)
        mute.close()


def test_a_connection_is_one_s_alone_while_it_is_used(client, monkeypatch):
    """A signal handler, a finalizer or a greenlet that comes in between has another one."""
    client.mset({"wire:1": "one", "wire:2": "two"})
    line = DirectClient(client)
    line.execute("PING")
    (kept,) = connections(line)
    read, inner = kept.read_response, []

    def interfering(*args, **options):
        monkeypatch.undo()
        inner.append(line.execute("GET", "wire:2"))
        return read(*args, **options)

    monkeypatch.setattr(kept, "read_response", interfering)
    assert line.execute("GET", "wire:1") == b"one"
    assert inner == [b"two"]
    assert len(connections(line)) == 2


def test_threads_get_their_own_replies(client):
    """Many at once, and no more connections than threads."""
    line, wrong = DirectClient(client), []

    def ask(number):
        for i in range(300):
            if line.execute("ECHO", f"{number} {i}") != f"{number} {i}".encode():
                wrong.append((number, i))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(connections(line)) <= 8


def test_after_a_fork_the_parent_s_connections_are_left_alone(client, monkeypatch):
    """The child makes its own."""
    line = DirectClient(client)
    line.execute("PING")
    (kept,) = connections(line)
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert line.execute("GET", "wire") is None
    assert kept not in connections(line)


def test_few_connections_are_kept_from_a_small_pool():
    """What else asks that pool finds some."""
    client = redis.Redis.from_url(services.REDIS_URL, max_connections=2)
    line = DirectClient(client)
    taken = [line._acquire(), line._acquire()]
    for kept in taken:
        line._send(ignore, False, kept, ["ECHO", "nobody waits for this"])
        line._put_back(kept)
    assert len(connections(line)) == 1
    # This asks on the other one.
    assert client.ping() is True
    assert line.execute("ECHO", "that") == b"that"
    client.close()


@pytest.mark.parametrize("on_class", [True, False])
def test_who_watches_commands_sees_all_of_them(client, monkeypatch, on_class):
    """Tracers put something of theirs in place of a method, and some of them late."""
    line, seen = DirectClient(client), []
    line.execute("PING")
    execute = redis.Redis.execute_command

    def watched(*args, **options):
        seen.append(args[-1])
        return execute(*args, **options) if on_class else execute(client, *args, **options)

    monkeypatch.setattr(redis.Redis if on_class else client, "execute_command", watched)
    line.execute("PING")
    assert seen == ["PING"]
    monkeypatch.undo()
    line.execute("PING")
    assert seen == ["PING"]


def test_clients_of_other_kinds_are_asked_as_ever():
    """Only they know what a command takes: clusters, sentinels, pools that wait, fakes, decorated ones."""

    class Own(redis.Redis):
        pass

    url = services.REDIS_URL
    waiting = redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(url))
    for client in (Own.from_url(url), waiting, redis.Redis.from_url(url, single_connection_client=True)):
        assert not DirectClient(client)._is_supported
        client.close()
    assert not DirectClient(object())._is_supported


def test_what_nobody_waits_for_is_done_in_turn(client):
    """Whoever comes next on the connection gets the reply to what he asked for himself."""
    line = DirectClient(client)
    for number in range(3 * redis_connection.MAX_PENDING_REPLIES):
        line.send(ignore, "SET", "wire:1", number)
        line.send(ignore, "ECHO", "x" * 100_000)
        if number % 5 == 0:
            assert line.execute("GET", "wire:1") == str(number).encode()
    assert line.execute("GET", "wire:1") == str(number).encode()
    assert len(connections(line)) == 1


def test_who_sent_what_went_wrong_is_told(client):
    """What comes next is not to blame for it, and nobody else hears of it."""
    told = {"first": [], "fine": [], "second": []}
    line = DirectClient(client)
    line.send(told["first"].append, "GET")
    line.send(told["fine"].append, "GET", "wire")
    line.send(told["second"].append, "EVALSHA", "0" * 40, 0)
    assert not any(told.values())
    assert line.execute("ECHO", "that") == b"that"
    assert {name: [*map(type, errors)] for name, errors in told.items()} == {
        "first": [redis.ResponseError],
        "fine": [],
        "second": [redis.exceptions.NoScriptError],
    }


def kill(connection):
    """Have the server close it."""
    # Of several that CLIENT LIST names, this one is the one with our port.
    port = connection._sock.getsockname()[1]
    with redis.Redis.from_url(services.REDIS_URL) as other:
        (name,) = [each["id"] for each in other.client_list() if each["addr"].endswith(f":{port}")]
        other.client_kill_filter(_id=name)


@pytest.mark.parametrize("closed_by", ["the server", "this process"])
def test_replies_that_will_not_come_are_not_waited_for(client, closed_by):
    """Whoever sent the commands is told that they may be lost."""
    client.set("wire:1", "one")
    line, lost = DirectClient(client), []
    # Its reply does not come.
    line.send(lost.append, "BLPOP", "wire", 0)
    line.send(lost.append, "ECHO", "lost, too")
    (kept,) = connections(line)
    if closed_by == "the server":
        kill(kept)
    else:
        client.connection_pool.disconnect()
    assert line.execute("GET", "wire:1") == b"one"
    assert [*map(type, lost)] == [redis.ConnectionError] * 2


def test_health_checks_get_the_replies_to_their_own_questions():
    """They come before a command, and read one reply."""
    healthy = redis.Redis.from_url(services.REDIS_URL, health_check_interval=60)
    line, used = DirectClient(healthy), set()
    for number in range(5):
        line.send(ignore, "SET", "wire:2", number)
        (kept,) = connections(line)
        # Long ago.
        kept.next_health_check = 0
        assert line.execute("GET", "wire:2") == str(number).encode()
        used.add(kept._sock)
    assert len(used) == 1
    healthy.delete("wire:2")
    healthy.close()


def test_what_is_sent_to_a_server_that_closed_the_connection_is_done_in_the_usual_way(client):
    """A connection takes one command more after it was closed; that one would be lost."""
    line = DirectClient(client)
    line.execute("PING")
    (kept,) = connections(line)
    kill(kept)
    line.send(ignore, "SET", "wire:1", "done", check_connection=True)
    assert client.get("wire:1") == b"done"


@pytest.mark.parametrize("is_plain", [True, False])
def test_scripts_that_nobody_waits_for_are_loaded_again(store_of_its_own, monkeypatch, is_plain):
    """The one that finds the server without it is lost, the next is not; where it is waited for, neither is."""
    monkeypatch.setattr(redis_connection, "ENABLED", is_plain)
    monkeypatch.setattr(cacheops_redis, "_direct_client", None)
    lock, lines = keys.lock_key(keys.value_key("", "wire")), ["token"]
    send_script("release", [lock], lines)
    get_client().script_flush()
    for _ in range(3 if is_plain else 1):
        store_of_its_own.set(lock, "token")
        send_script("release", [lock], lines)
        execute("ECHO", "this settles it")
    assert not store_of_its_own.exists(lock)


def test_scripts_that_the_server_forgot_are_loaded_again(store_of_its_own):
    """As after a restart, or SCRIPT FLUSH."""
    for _ in range(2):
        assert run_script("release", ["wire"], ["token"]) == 0
        get_client().script_flush()
