"""Whatever leads to Redis: reads hit, no write leaves a stale result, and an outage has the same consequences."""

import io
import json
import time
from contextlib import suppress

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings

from cacheops_lite import cache, cached_as, invalidate_all, invalidate_obj
from cacheops_lite.conf import settings
from cacheops_lite.store import circuit_breaker, counter_flush, get_client, uses_cluster
from cacheops_lite.store.client_library import library_of
from tests.shop.models import Category, Product
from tests.support import servers, services
from tests.support.waiting import wait_until
from tests.support.ways import WAYS, tcp

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="the way to Redis does not depend on the database"),
]


@pytest.fixture(params=WAYS)
def way(request, tmp_path):
    """A server that the cache reaches in one of the ways."""
    with WAYS[request.param](tmp_path) as (server, settings), override_settings(**settings):
        yield server


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    """Remove the pauses of the circuit breaker: each call tries Redis."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 1e-9)


def names():
    return [each.name for each in Category.objects.order_by("name")]


def by_name():
    return Category.objects.get(name="b").pk


def number():
    return Category.objects.filter(name__startswith="o").count()


def joined():
    return [each.category.name for each in Product.objects.select_related("category").order_by("sku")]


@cached_as(Category, timeout=60)
def function():
    return "-".join(names())


READS = [names, by_name, number, joined, function]


def read_all():
    return [read() for read in READS]


def rename(to):
    category = Category.objects.nocache().get(name__startswith="o")
    category.name = to
    category.save()


@pytest.fixture
def rows():
    Category.objects.create(name="b")
    Product.objects.create(sku="s", category=Category.objects.create(name="old"))


def test_reads_hit_until_a_write_invalidates_them(way, rows, is_hit):
    for name in ("older", "oldest"):
        read_all()
        assert is_hit(read_all)
        with transaction.atomic():
            rename(name)
        assert names() == ["b", name]
        assert joined() == [name]
        assert function() == f"b-{name}"


def test_results_are_invalidated_by_hand(way, rows, is_hit):
    for invalidate in (invalidate_all, lambda: invalidate_obj(Category.objects.nocache().get(name="old"))):
        read_all()
        assert is_hit(names)
        Category.objects.filter(name="old").update(name="old")
        invalidate()
        assert not is_hit(names)


def test_results_of_one_way_are_those_of_another(way, rows, is_hit):
    """Redis holds the same, whatever library has stored it."""
    names()
    if settings.CACHEOPS_PREFIX:
        pytest.skip("the other way has no prefix")
    url = way.url.replace("redis:", "redis+cluster:") if uses_cluster() else way.url
    with override_settings(CACHEOPS_REDIS=url, CACHEOPS_SENTINEL={}, CACHEOPS_CLIENT_CLASS=None):
        assert is_hit(names)
        rename("other")
    assert names() == ["b", "other"]


def test_the_simple_cache_keeps_changes_and_removes_values(way):
    cache.set("key", {"a": 1}, timeout=60)
    assert cache.get("key") == {"a": 1}
    assert not cache.add("key", 2)
    cache.set("number", 1)
    assert cache.incr("number") == 2
    cache.delete("key")
    assert cache.get("key", None) is None
    cache.set("other", 1)
    cache.clear()
    assert cache.get("other", None) is None


def test_the_doctor_examines_the_server(way, rows):
    """It takes a connection from the pool, and says what the user may not do."""
    names()
    stream = io.StringIO()
    with suppress(CommandError):
        call_command("cacheops", "doctor", "--json", stdout=stream)
    found = {each["id"]: each for each in json.loads(stream.getvalue())["findings"]}
    assert "is supported" in found["server"]["found"]
    assert found["permissions"]["level"] == "ok", found["permissions"]
    assert found["scripts"]["level"] == "ok"


def test_the_other_commands_work(way, rows):
    read_all()
    counter_flush.flush()
    for name in ("stats", "ls", "top", "verify", "advise"):
        stream = io.StringIO()
        call_command("cacheops", name, stdout=stream)
        assert stream.getvalue()


def test_scripts_are_loaded_again_after_the_server_has_lost_them(way, rows, is_hit):
    read_all()
    way.client().script_flush()
    rename("other")
    assert names() == ["b", "other"]
    # The script that stores is sent without waiting: that it is lost is noticed later.
    assert wait_until(lambda: is_hit(names))


@pytest.mark.parametrize("in_atomic", [False, True])
def test_with_degrade_an_outage_leaves_nothing_stale(way, rows, is_hit, settings, in_atomic):
    """Reads come from the database meanwhile.  Redis keeps its data, as after an orderly restart."""
    settings.CACHEOPS_DEGRADE_ON_FAILURE = True
    read_all()
    way.client().save()
    way.stop()
    if in_atomic:
        with transaction.atomic():
            rename("other")
    else:
        Category.objects.filter(name="old").update(name="other")
    assert names() == ["b", "other"]
    cache.set("key", 1)
    way.start()
    assert wait_until(lambda: not is_degraded())
    assert read_all()[0] == ["b", "other"]
    assert wait_until(lambda: is_hit(names))
    assert joined() == ["other"]


def is_degraded():
    try:
        cache.set("after", 1)
    except redis.RedisError:
        return True
    return cache.get("after", None) != 1


def test_without_degrade_a_read_raises_the_error_and_a_write_does_not(way, rows):
    """The error is one of redis-py, and that of the client's own library as well."""
    read_all()
    client = get_client()
    way.stop()
    for read in (names, joined, lambda: cache.get("key", None)):
        with pytest.raises(redis.ConnectionError, match="CACHEOPS_"):
            read()
    library = library_of(type(client))
    with pytest.raises(library.part("exceptions", "ConnectionError")):
        names()
    with transaction.atomic():
        rename("other")
    way.start()
    assert wait_until(lambda: not is_degraded())
    assert names() == ["b", "other"]


def test_a_restart_from_an_old_snapshot_brings_no_result_back(way, rows, is_hit):
    read_all()
    way.client().save()
    rename("other")
    read_all()
    way.stop()
    way.start()
    assert wait_until(lambda: not is_degraded())
    assert names() == ["b", "other"]
    assert joined() == ["other"]
    assert is_hit(names)


def test_each_call_has_a_time_limit(way, rows, settings):
    """Also where the library itself would wait for seconds or for ever."""
    settings.CACHEOPS_REDIS_TIMEOUT = 1.0
    names()
    way.process.send_signal(servers.signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            names()
        assert time.monotonic() - began < 3
    finally:
        way.process.send_signal(servers.signal.SIGCONT)


def test_a_replica_is_refused(tmp_path, rows):
    """It takes no invalidations, and the error names the setting."""
    with tcp(tmp_path) as (master, _), servers.running("--replicaof", "127.0.0.1", str(master.port)) as replica:
        for client_class in (None, "tests.support.clients.OwnRedis"):
            with override_settings(CACHEOPS_REDIS=replica.url, CACHEOPS_CLIENT_CLASS=client_class):
                for _ in range(2):
                    with pytest.raises(redis.RedisError, match=r"replica.* Name its master in CACHEOPS_REDIS"):
                        names()
