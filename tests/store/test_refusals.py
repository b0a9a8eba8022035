"""Invalidations that Redis refuses permanently: they neither slow down each read nor leave stale results."""

import logging
import time

import pytest
import redis
from django.db import connection
from django.test import override_settings

from cacheops_lite import cached_as, invalidate_all, invalidate_obj
from cacheops_lite.reads import cached_read
from cacheops_lite.store import invalidation_script, invalidator
from cacheops_lite.store.write_set import WriteSet
from tests.conftest import counted_reads
from tests.shop.models import Category, Label, Product
from tests.support import servers

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20
WRITES_OF_OTHER_TYPES = {
    "string": lambda client, key: client.set(key, "foreign"),
    "list": lambda client, key: client.rpush(key, "foreign"),
    "set": lambda client, key: client.sadd(key, "foreign"),
    "hash": lambda client, key: client.hset(key, "foreign", "1"),
    "sorted set": lambda client, key: client.zadd(key, {"foreign": time.time() + 60}),
}


def texts():
    return sorted(Label.objects.filter(text__in=["old", "new"]).values_list("text", flat=True))


def joined():
    return [
        (product.name, getattr(product.category, "name", None))
        for product in Product.objects.select_related("category")
    ]


@cached_as(Label, lock=True)
def report():
    return sorted(Label.objects.nocache().values_list("text", flat=True))


@pytest.fixture
def rows(store):
    category = Category.objects.create(name="c")
    Product.objects.create(sku="a", name="a", category=category)
    return Label.objects.create(text="old")


@pytest.mark.parametrize("part", ["v", "t", "i", "d", "c", "f", "l"])
def test_keys_of_another_type_are_misses_and_cause_no_error(store, rows, part):
    """They are written manually or by another program: reads and writes work, and results are cached again."""
    reads = [texts, joined, report]
    for kind, put in WRITES_OF_OTHER_TYPES.items():
        invalidate_all()
        for read in reads * 2:
            read()
        names = ["shop_label", "shop_product", "shop_category"] if part == "f" else []
        keys = list(store.scan_iter(match=f"*cacheops:{part}:*")) or [f"cacheops:{part}:{name}" for name in names]
        assert keys or part in "lc"
        for turn in range(2):
            for key in keys:
                store.delete(key)
                put(store, key)
            for read in reads:
                read()
            rows.text = "new" if rows.text == "old" else "old"
            rows.save()
            Category.objects.update(name=f"{kind} {turn}")
            assert [read() for read in reads] == [[rows.text], [("a", f"{kind} {turn}")], [rows.text]], kind
        if (part, kind) == ("f", "sorted set"):
            # That is a fence, which lasts until it expires.
            continue
        for read in reads * 2:
            read()
        with counted_reads() as counted:
            for read in reads:
                read()
        assert (counted.hits, counted.misses) == (3, 0), kind


def refuse(error, *names):
    """Return a `run_script` that raises `error` for some scripts, and the list of refused calls."""
    run_script, tried = invalidation_script.run_script, []

    def run(name, keys, args, epoch=None):
        if name in names:
            tried.append(name)
            raise error
        return run_script(name, keys, args, epoch)

    return run, tried


@pytest.mark.parametrize(
    "error", [redis.ResponseError("WRONGTYPE of a key"), redis.DataError("no such thing"), TypeError("of our own")]
)
def test_an_overdue_invalidation_that_fails_permanently_invalidates_tables(store, rows, monkeypatch, caplog, error):
    """This happens once, before the next read, which does not fail."""
    assert texts() == texts() == ["old"]
    run, tried = refuse(error, "invalidate")
    with connection.cursor() as cursor:
        cursor.connection.execute(
            "UPDATE shop_label SET text = 'new'"
        ) if connection.vendor != "mysql" else cursor.cursor.execute("UPDATE shop_label SET text = 'new'")
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "cacheops_lite"):
        patch.setattr(invalidation_script, "run_script", run)
        invalidator.postpone({"": WriteSet(tables={"shop_label"})})
        assert [texts() for _ in range(5)] == [["new"]] * 5
        assert len(tried) <= 2
        assert not invalidator.is_overdue()
    assert "its tables are invalidated as a whole" in caplog.text


def test_a_failing_invalidate_all_invalidates_all_tables(store, rows, monkeypatch):
    """The call itself raises the error; later reads return the rows of the database."""
    assert texts() == texts() == ["old"]

    def scan(*args, **kwargs):
        raise redis.DataError("not on this client")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "scan", scan)
        with pytest.raises(redis.DataError):
            invalidate_all()
        Label.objects.nocache().filter(pk=rows.pk).update(text="new")
        assert [texts() for _ in range(3)] == [["new"]] * 3
    assert not invalidator.is_overdue()


@pytest.fixture
def server():
    with servers.running() as server:
        yield server


def allow_commands(client, *rules):
    client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", *rules])


@pytest.mark.redis
def test_this_process_bypasses_the_cache_while_redis_refuses_invalidations(server, monkeypatch, caplog):
    """As soon as Redis accepts them again, reads are cached again."""
    admin = server.client()
    admin.acl_setuser("admin", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    admin = redis.Redis(port=server.port, username="admin", password="")
    with override_settings(CACHEOPS_REDIS=server.url, CACHEOPS_CLIENT_CLASS=None):
        label = Label.objects.create(text="old")
        assert texts() == texts() == ["old"]
        allow_commands(admin, "-eval", "-evalsha", "-unlink")
        label.text = "new"
        label.save()
        with caplog.at_level(logging.ERROR, "cacheops_lite"):
            assert [texts() for _ in range(5)] == [["new"]] * 5
        assert "reads past the cache" in caplog.text
        assert invalidator.is_refused()
        allow_commands(admin)
        until = time.monotonic() + PATIENCE
        while invalidator.is_refused() and time.monotonic() < until:
            time.sleep(0.05)
        assert not invalidator.is_refused()
        texts()
        with counted_reads() as counted:
            assert texts() == ["new"]
        assert (counted.hits, counted.misses) == (1, 0)


def test_an_error_when_dependencies_are_named_invalidates_the_table_without_retries(store, rows, monkeypatch):
    """Tokens are made when an invalidation is sent: an error there is not repeated before each read."""
    assert texts() == texts() == ["old"]

    def raising(*args):
        raise RuntimeError("of a value")

    with monkeypatch.context() as patch:
        patch.setattr("cacheops_lite.store.dependency_index.DependencyIndex.dependencies_of", raising)
        rows.text = "new"
        rows.save()
        assert texts() == ["new"]
        invalidate_obj(rows)
    assert not invalidator.is_overdue()
    assert cached_read.invalidator is invalidator
