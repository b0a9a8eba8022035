"""A reply belongs to its request: whatever a pooled connection has still unread, no read takes it for its own."""

import threading

import pytest
import redis
from django.http import HttpResponse
from django.test import RequestFactory

from cacheops_lite import cache, cached, cached_as, cached_view, invalidate_all
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import fill_lock, invalidator, keys, protocol, redis_connection
from cacheops_lite.store.protocol import VersionSet
from cacheops_lite.store.write_set import WriteSet
from tests.shop.models import Label, Product
from tests.support import services

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="how Redis is spoken to does not depend on the database"),
]
NUMBERS = range(1, 31)
PARSERS = {"hiredis": "_HiredisParser", "python RESP2": "_RESP2Parser", "python RESP3": "_RESP3Parser"}


@pytest.fixture(params=[True, False], ids=["kept connections", "the pool alone"])
def kept(request, monkeypatch):
    monkeypatch.setattr(redis_connection, "ENABLED", request.param)


@pytest.fixture(params=PARSERS)
def client(request, kept, monkeypatch):
    """The client of the settings, with one parser or another."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    pool = redis.ConnectionPool.from_url(
        services.REDIS_URL,
        parser_class=getattr(redis._parsers, PARSERS[request.param]),
        protocol=2 if request.param == "python RESP2" else 3,
    )
    client = redis.Redis(connection_pool=pool)
    monkeypatch.setattr(cacheops_redis, "_client", client)
    monkeypatch.setattr(cacheops_redis, "_direct_client", None)
    client.flushdb()
    yield client
    if cacheops_redis._direct_client is not None:
        cacheops_redis._direct_client.close()
    pool.disconnect()
    redis.Redis.from_url(services.REDIS_URL).flushdb()


def leave_unread(client, *commands):
    """Connections in the pool on which a reply to a request before is still to be read, as an interrupt leaves them."""
    if cacheops_redis._direct_client is not None:
        cacheops_redis._direct_client.close()
    client.connection_pool.disconnect()
    taken = [client.connection_pool.get_connection() for _ in commands]
    for connection, command in zip(taken, commands, strict=True):
        connection.send_command(*command)
    for connection in taken:
        client.connection_pool.release(connection)


def in_threads(function):
    """What several threads find, each with a connection of its own."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(function())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == len(threads)
    return found


def got():
    return [(label.pk, label.text) for label in map(lambda pk: Label.objects.get(pk=pk), NUMBERS)]  # noqa: C417


@pytest.fixture
def rows(client):
    Label.objects.bulk_create([Label(pk=number, text=f"text {number}") for number in NUMBERS])
    got(), got()
    return [(number, f"text {number}") for number in NUMBERS]


def unread_commands(client):
    """Replies of many forms: of other types, and of the very form of a hit, with another row."""
    version_set = VersionSet("", [Dependency("shop_label", (("id", "7"),), None)])
    values = list(client.scan_iter(match="*cacheops:v:*"))
    return [
        ("PING",),
        ("ECHO", "a"),
        ("INCR", "counter"),
        ("MGET", "nothing"),
        ("MGET", values[0], *version_set.version_keys),
        ("MGET", values[1], values[2], values[3]),
        ("EVAL", "return {'nonce', 7, {'shop_label'}}", 0),
    ]


def test_no_get_finds_another_row(client, rows):
    for command in unread_commands(client):
        leave_unread(client, *[command] * 4)
        assert in_threads(got) == [rows] * 4, command


def test_no_fetch_or_count_finds_another_result(client, rows):
    def read():
        return (
            list(Label.objects.order_by("pk").values_list("pk", "text")),
            Label.objects.filter(pk__gt=0).count(),
            list(Product.objects.select_related("category")),
        )

    read(), read()
    for command in unread_commands(client):
        leave_unread(client, *[command] * 4)
        assert in_threads(read) == [(rows, len(rows), [])] * 4, command


def test_no_value_of_the_simple_cache_is_another_s(client, rows):
    cache.set("one", 1)
    cache.set("two", 2)

    @cached(timeout=60)
    def function(number):
        return number

    @cached_view(timeout=60)
    def view(request):
        return HttpResponse(request.GET["page"])

    @cached_as(Label)
    def report(number):
        return number

    def page(number):
        return view(RequestFactory().get("/", {"page": number})).content

    def read():
        return (
            (
                cache.get("one", 1),
                cache.get("two", 2),
                set(cache.get_many(["one", "two"]).items()) <= {("one", 1), ("two", 2)},
            ),
            (function(1), function(2), page("a"), page("b"), report(1), report(2)),
        )

    true = read()
    assert read() == true == ((1, 2, True), (1, 2, b"a", b"b", 1, 2))
    values = list(client.scan_iter(match="*cacheops:s:*"))
    for command in [*unread_commands(client), *[("MGET", value) for value in values]]:
        leave_unread(client, *[command] * 4)
        assert in_threads(read) == [true] * 4, command


def test_an_invalidation_is_done_when_it_returns(client, rows):
    """The reply to another request is not taken for its own."""
    for number, command in enumerate(unread_commands(client)):
        texts = lambda: list(Label.objects.filter(pk=1).values_list("text", flat=True))
        texts(), texts()
        leave_unread(client, *[command] * 2)
        Label.objects.filter(pk=1).update(text=f"new {number}")
        assert texts() == [f"new {number}"]
        leave_unread(client, *[command] * 2)
        invalidator.invalidate({"": WriteSet(tables={"shop_label"})})
        assert not redis.Redis.from_url(services.REDIS_URL).exists(keys.table_version_key("", "shop_label"))


def test_a_lock_is_not_taken_by_another_s_reply(client):
    """Neither is it left behind."""
    for command in (("ECHO", "token"), ("PING",), ("INCR", "counter"), ("MGET", "nothing")):
        leave_unread(client, *[command] * 3)
        took = fill_lock.acquire_lock("cacheops:v:one", "first")
        if took:
            assert redis.Redis.from_url(services.REDIS_URL).get("cacheops:l:one") == b"first"
        fill_lock.release_lock("cacheops:v:one", "first")
        assert fill_lock.acquire_lock("cacheops:v:one", "second")
        fill_lock.release_lock("cacheops:v:one", "second")


def test_a_value_proves_its_key_and_its_versions(client, rows):
    """Swapped values are misses."""
    values = list(client.scan_iter(match="*cacheops:v:*"))
    stored = client.mget(values)
    for key, value in zip(values, [*stored[1:], stored[0]], strict=True):
        client.set(key, value)
    assert got() == rows
    version_set = VersionSet("", [Dependency("t", (), None)])
    lookup = protocol.read("cacheops:v:a", version_set, 60)
    protocol.create_versions(lookup, 60)
    assert protocol.fill(lookup, b"payload", 60)
    client.copy("cacheops:v:a", "cacheops:v:b")
    assert protocol.read("cacheops:v:a", version_set).payload == b"payload"
    assert protocol.read("cacheops:v:b", version_set).payload is protocol.MISS


def test_a_connection_is_closed_where_looking_at_it_is_interrupted(client, monkeypatch):
    """Between the pool and its first command."""
    if not redis_connection.ENABLED:
        pytest.skip("no connection is taken from the pool by this project")
    leave_unread(client, ("PING",))
    (connection,) = client.connection_pool._available_connections

    def interrupted(*args):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(redis_connection, "_has_unread", interrupted)
    line = redis_connection.DirectClient(client)
    with pytest.raises(KeyboardInterrupt):
        line.execute("GET", "wire")
    assert not connection.is_connected
    assert not client.connection_pool._in_use_connections
    invalidate_all()
