"""A reply belongs to its request: no read uses a reply that another request left unread on a pooled connection."""

import threading

import pytest
import redis
from django.http import HttpResponse
from django.test import RequestFactory

from cacheops_lite import cache, cached, cached_as, cached_view, invalidate_all
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import fill_lock, invalidator, keys, protocol, redis_connection, stored_value
from cacheops_lite.store.version_set import VersionSet
from cacheops_lite.store.write_set import WriteSet
from tests.shop.models import Label, Product
from tests.support import fast_paths, services

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="calls to Redis do not depend on the database"),
]
NUMBERS = range(1, 31)
PARSERS = {"hiredis": "_HiredisParser", "python RESP2": "_RESP2Parser", "python RESP3": "_RESP3Parser"}


@pytest.fixture(params=[True, False], ids=["kept connections", "the pool alone"])
def direct_connections(request, monkeypatch):
    monkeypatch.setattr(*fast_paths.switched("kept connections", request.param))


@pytest.fixture(params=PARSERS)
def client(request, direct_connections, monkeypatch):
    """The configured client, with each parser."""
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
    """Leave a reply to a former request unread on connections of the pool, as an interrupt does."""
    if cacheops_redis._direct_client is not None:
        cacheops_redis._direct_client.close()
    client.connection_pool.disconnect()
    taken = [client.connection_pool.get_connection() for _ in commands]
    for connection, command in zip(taken, commands, strict=True):
        connection.send_command(*command)
    for connection in taken:
        client.connection_pool.release(connection)


def in_threads(function):
    """Return the results of several threads, each with a connection of its own."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(function())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == len(threads)
    return found


def read_rows():
    return [(label.pk, label.text) for label in map(lambda pk: Label.objects.get(pk=pk), NUMBERS)]  # noqa: C417


@pytest.fixture
def rows(client):
    Label.objects.bulk_create([Label(pk=number, text=f"text {number}") for number in NUMBERS])
    read_rows(), read_rows()
    return [(number, f"text {number}") for number in NUMBERS]


def unread_commands(client):
    """Return commands with various replies: of other types, and of the type of a hit but with another row."""
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


def test_get_never_returns_another_row(client, rows):
    for command in unread_commands(client):
        leave_unread(client, *[command] * 4)
        assert in_threads(read_rows) == [rows] * 4, command


def test_fetch_and_count_never_return_another_result(client, rows):
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


def test_the_simple_cache_never_returns_another_value(client, rows):
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


def test_an_invalidation_has_taken_effect_when_it_returns(client, rows):
    """It does not use the reply to another request as its own."""
    for number, command in enumerate(unread_commands(client)):
        texts = lambda: list(Label.objects.filter(pk=1).values_list("text", flat=True))
        texts(), texts()
        leave_unread(client, *[command] * 2)
        Label.objects.filter(pk=1).update(text=f"new {number}")
        assert texts() == [f"new {number}"]
        leave_unread(client, *[command] * 2)
        invalidator.invalidate({"": WriteSet(tables={"shop_label"})})
        assert not redis.Redis.from_url(services.REDIS_URL).exists(keys.table_version_key("", "shop_label"))


def test_a_reply_to_another_request_does_not_acquire_a_lock(client):
    """It leaves no lock behind, either."""
    for command in (("ECHO", "token"), ("PING",), ("INCR", "counter"), ("MGET", "nothing")):
        leave_unread(client, *[command] * 3)
        took = fill_lock.acquire_lock("cacheops:v:one", "first")
        if took:
            assert redis.Redis.from_url(services.REDIS_URL).get("cacheops:l:one") == b"first"
        fill_lock.release_lock("cacheops:v:one", "first")
        assert fill_lock.acquire_lock("cacheops:v:one", "second")
        fill_lock.release_lock("cacheops:v:one", "second")


def test_a_value_is_only_valid_under_its_own_key_and_versions(client, rows):
    """Swapped values are misses."""
    values = list(client.scan_iter(match="*cacheops:v:*"))
    stored = client.mget(values)
    for key, value in zip(values, [*stored[1:], stored[0]], strict=True):
        client.set(key, value)
    assert read_rows() == rows
    version_set = VersionSet("", [Dependency("t", (), None)])
    lookup = protocol.read("cacheops:v:a", version_set, 60)
    protocol.create_versions(lookup, 60)
    assert protocol.fill(lookup, b"payload", 60)
    client.copy("cacheops:v:a", "cacheops:v:b")
    assert protocol.read("cacheops:v:a", version_set).payload == b"payload"
    assert protocol.read("cacheops:v:b", version_set).payload is stored_value.MISS


def test_a_connection_is_closed_if_its_check_is_interrupted(direct_connections, monkeypatch):
    """The check happens between leaving the pool and the first command."""
    if not fast_paths.is_on("kept connections"):
        pytest.skip("the package takes no connection from the pool")
    # A client of its own: a thread that works in the background uses the other one.
    pool = redis.ConnectionPool.from_url(services.REDIS_URL)
    [connection] = connections = [pool.get_connection()]
    connection.send_command("PING")
    pool.release(connection)

    def interrupted(asked, *args):
        if asked not in connections:
            return has_unread(asked, *args)
        connections.clear()
        raise KeyboardInterrupt

    has_unread = redis_connection.has_unread
    monkeypatch.setattr(redis_connection, "has_unread", interrupted)
    direct_client = redis_connection.DirectClient(redis.Redis(connection_pool=pool))
    with pytest.raises(KeyboardInterrupt):
        direct_client.execute("GET", "wire")
    assert not connections
    assert not connection.is_connected
    assert connection not in pool._in_use_connections
    direct_client.close()
    pool.disconnect()
    invalidate_all()


@pytest.mark.parametrize(
    "command",
    [("PING",), ("INCR", "counter"), ("PTTL", "x"), ("MGET", "x"), ("MGET", "cacheops:s:k:one"), ("ECHO", "x")],
)
def test_a_change_of_a_simple_value_reads_its_own_replies(client, command):
    """Also where the connection that watches the key has a reply unread."""
    for _ in range(5):
        cache.set("one", 1, timeout=60)
        leave_unread(client, command)
        assert cache.incr("one") == 2
        leave_unread(client, command)
        assert cache.touch("one", 30)
        assert cache.get("one") == 2
