"""Versions die with the server that held them: a restored snapshot or a lagging replica brings nothing back."""

import shutil
from contextlib import closing

import pytest
import redis

from cacheops_lite.schema import Dependency
from cacheops_lite.store import (
    VersionSet,
    dependency_index,
    fill_lock,
    invalidator,
    keys,
    protocol,
    rollback,
    server_epoch,
    stored_value,
)
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.client import get_client
from cacheops_lite.store.write_set import Change
from tests.shop.models import Category, Product
from tests.support import servers
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

MODES = pytest.mark.parametrize("insideout", [False, True])


@pytest.fixture
def server(tmp_path, settings):
    """A server that loads its snapshot when it starts, which only SAVE writes."""
    with servers.running("--dir", str(tmp_path)) as started:
        settings.CACHEOPS_REDIS, settings.CACHEOPS_CLIENT_CLASS = started.url, None
        yield started


@pytest.fixture(params=["kept connections", "the pool alone"])
def path(request, monkeypatch):
    """Both ways in which commands are run."""
    if request.param == "the pool alone":
        monkeypatch.setattr("cacheops_lite.store.redis_connection.is_supported", lambda client: False)


def names():
    return [each.name for each in Category.objects.order_by("name")]


def joined():
    return [each.category.name for each in Product.objects.select_related("category").order_by("sku")]


def number():
    return Category.objects.filter(name__startswith="o").count()


READS = {"fetch": names, "row-level dependencies": joined, "count": number}


def rename(to):
    """Change what all the reads return, with an image of the row."""
    category = Category.objects.nocache().get()
    category.name = to
    category.save()


def restart(server):
    """Kill the server and start it from its last snapshot."""
    server.stop()
    server.start()


@MODES
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_restart_from_an_old_snapshot_brings_no_result_back(server, path, settings, is_hit, read, insideout):
    """Neither for a process that was connected nor for a new one."""
    settings.CACHEOPS_INSIDEOUT = insideout
    category = Category.objects.create(name="old")
    Product.objects.create(sku="s", category=category)
    before = read()
    assert is_hit(read)
    get_client().save()
    rename("new")
    after = read()
    assert before != after or read is number
    restart(server)
    assert read() == after
    assert is_hit(read)
    restart(server)
    cacheops_redis._forget_client("CACHEOPS_REDIS")
    assert read() == after


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_older_append_only_file_brings_no_result_back(tmp_path, settings, is_hit, read):
    """A backup of the disk was restored."""
    disk, backup = tmp_path / "disk", tmp_path / "backup"
    disk.mkdir()
    with servers.running("--dir", str(disk), "--appendonly", "yes", "--appendfsync", "always") as server:
        settings.CACHEOPS_REDIS, settings.CACHEOPS_CLIENT_CLASS = server.url, None
        Product.objects.create(sku="s", category=Category.objects.create(name="old"))
        read()
        assert is_hit(read)
        shutil.copytree(disk, backup)
        rename("new")
        after = read()
        server.stop()
        shutil.rmtree(disk)
        shutil.copytree(backup, disk)
        server.start()
        assert server.client().keys("*cacheops:v:*")
        assert read() == after
        assert is_hit(read)


def test_a_result_that_is_stored_after_the_restart_is_kept(server, path, is_hit):
    Category.objects.create(name="old")
    names()
    get_client().save()
    restart(server)
    names()
    assert is_hit(names)
    rename("new")
    assert names() == ["new"]
    assert is_hit(names)


def test_an_index_with_other_shapes_but_the_same_size_is_not_taken_for_the_known_one(server):
    """The writer knows an index with two shapes; the restored one has one of them, and another process adds another."""

    def store_value(column):
        lookup = protocol.read(f"cacheops:v:{column}", VersionSet("", [Dependency("t", ((column, "1"),), None)]))
        protocol.create_versions(lookup, 60)
        assert protocol.fill(lookup, b"value", 60)
        return lookup

    store_value("a")
    get_client().save()
    store_value("b")
    dependency_index.load({"t": [""]})
    known = dependency_index.known("", "t")
    restart(server)
    lookup = store_value("c")
    dependency_index._known.put(("", "t"), known)
    row = {"a": "0", "b": "0", "c": "1"}
    invalidator.invalidate({"": invalidator.WriteSet([Change("t", None, row)])})
    assert protocol.read(lookup.key, lookup.version_set).payload is stored_value.MISS


def test_a_promoted_replica_that_lags_brings_no_result_back(server, tmp_path, path, is_hit):
    """The address now leads to the replica, which has not seen the last invalidations."""
    (tmp_path / "replica").mkdir()
    Category.objects.create(name="old")
    names()
    with servers.running("--dir", str(tmp_path / "replica"), "--replicaof", "127.0.0.1", str(server.port)) as replica:
        assert wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        assert wait_until(lambda: replica.client().dbsize() == server.client().dbsize())
        replica.client().execute_command("REPLICAOF", "NO", "ONE")
        rename("new")
        assert names() == ["new"]
        server.stop()
        moved, replica.process, replica_port = replica.process, None, replica.port
        try:
            with closing(Proxy(replica_port, server.port)):
                assert names() == ["new"]
                assert is_hit(names)
        finally:
            moved.kill()
            moved.wait()


def test_a_server_that_took_over_an_older_state_is_noticed_on_the_same_connection(server, tmp_path):
    """REPLICAOF keeps connections and the run ID; the replication ID tells.  The clock was not read before."""
    (tmp_path / "copy").mkdir()
    Category.objects.create(name="old")
    names()
    get_client().execute_command("SAVE")
    (tmp_path / "copy" / "dump.rdb").write_bytes((tmp_path / "dump.rdb").read_bytes())
    rename("new")
    assert names() == ["new"]
    with servers.running("--dir", str(tmp_path / "copy")) as copy:
        control = server.client()
        control.execute_command("REPLICAOF", "127.0.0.1", copy.port)
        assert wait_until(lambda: control.info("replication")["master_link_status"] == "up")
        control.execute_command("REPLICAOF", "NO", "ONE")
        for kept in cacheops_redis._direct_client._idle:
            kept.connection.cacheops_check_at = 0.0
        assert names() == ["new"]


def test_a_replica_is_no_server_to_read_from(server, settings, monkeypatch):
    """It takes no invalidations, so what it holds may be stale: its error surfaces, or reads go to the database."""
    monkeypatch.setattr(server_epoch, "CHECK_SECONDS", 0.0)
    Category.objects.create(name="old")
    names()
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(redis.exceptions.ReadOnlyError, match="CACHEOPS_REDIS"):
        names()
    settings.CACHEOPS_DEGRADE_ON_FAILURE = True
    assert names() == ["old"]
    server.client().execute_command("REPLICAOF", "NO", "ONE")
    settings.CACHEOPS_DEGRADE_ON_FAILURE = False
    assert names() == ["old"]


def test_a_lock_that_a_snapshot_brought_back_is_free(server):
    """Its owner released it on the server that is gone."""
    Category.objects.create(name="a")
    list(Category.objects.order_by("name"))
    key = keys.value_key("", "x")
    assert fill_lock.acquire_lock(key, fill_lock.new_token(key))
    get_client().save()
    restart(server)
    list(Category.objects.order_by("name"))
    assert fill_lock.acquire_lock(key, fill_lock.new_token(key))
    assert not fill_lock.acquire_lock(key, fill_lock.new_token(key))


@pytest.mark.parametrize("reads_between", [False, True])
def test_a_fence_that_a_snapshot_brought_back_holds_up_no_reader(server, is_hit, reads_between):
    """Its writer, if it is still alive, invalidates everything again."""
    Category.objects.create(name="old")
    names()
    fence = invalidator.Fence()
    write_set = {"": invalidator.WriteSet(tables={"shop_category"})}
    invalidator.invalidate_and_fence(write_set, fence)
    get_client().save()
    restart(server)
    if reads_between:
        names()
        assert is_hit(names)
    with_fence = bool(get_client().exists(keys.fence_key("", "shop_category")))
    assert with_fence is not reads_between
    # The commit.
    Category.objects.filter(name="old").invalidated_update(name="new")
    invalidator.invalidate(write_set, fence)
    assert names() == ["new"]
    assert is_hit(names)


def test_a_server_that_does_not_tell_who_it_is_serves_all_the_same(server, is_hit, caplog):
    """An ACL may forbid INFO: that is logged, as a restart from an old snapshot then goes unnoticed."""
    server.client().execute_command("ACL", "SETUSER", "default", "-info")
    cacheops_redis._forget_client("CACHEOPS_REDIS")
    Category.objects.create(name="old")
    assert names() == ["old"]
    assert is_hit(names)
    assert "run ID" in caplog.text
    rename("new")
    assert names() == ["new"]


def test_processes_that_disagree_on_the_epoch_only_miss(server, monkeypatch):
    """One of them has checked the server before its replication ID changed."""
    Category.objects.create(name="old")
    names()
    other = cacheops_redis._watch
    other.epoch = b"another-"
    for connection in cacheops_redis._direct_client._idle:
        connection.connection.cacheops_epoch = b"another-"
    names()
    rename("new")
    cacheops_redis._forget_client("CACHEOPS_REDIS")
    assert names() == ["new"]


@pytest.fixture
def checking(monkeypatch):
    """Each command checks the server first."""
    monkeypatch.setattr(server_epoch, "CHECK_SECONDS", 0.0)


@pytest.mark.parametrize("command", ["SWAPDB", "DEBUG RELOAD"])
def test_an_older_state_that_comes_back_under_open_connections_is_removed(
    tmp_path, settings, checking, path, caplog, command
):
    """The clock in it is older than the one that this process has seen."""
    with servers.running("--dir", str(tmp_path), *servers.known("--enable-debug-command", "yes")) as server:
        settings.CACHEOPS_REDIS, settings.CACHEOPS_CLIENT_CLASS = server.url, None
        Category.objects.create(name="old")
        names()
        control = server.client()
        control.save()
        for key in control.scan_iter():
            control.copy(key, key, destination_db=1)
        rename("new")
        assert names() == ["new"]
        if command == "SWAPDB":
            control.swapdb(0, 1)
        else:
            control.execute_command("DEBUG", "RELOAD", "NOSAVE")
        assert names() == ["new"]
        assert "older state" in caplog.text
        caplog.clear()
        assert names() == ["new"]
        assert "older state" not in caplog.text


def test_a_clock_that_is_lost_or_ahead_removes_nothing(server, checking, is_hit, caplog):
    """Redis may evict it, and the system's time may be set back."""
    Category.objects.create(name="old")
    names()
    server.client().delete(rollback.clock_key())
    assert is_hit(names)
    server.client().set(rollback.clock_key(), 9_000_000_000_000)
    assert is_hit(names)
    assert is_hit(names)
    server.client().delete(rollback.clock_key())
    server.client().lpush(rollback.clock_key(), 1)
    assert is_hit(names)
    assert "older state" not in caplog.text


def test_the_clock_of_one_tenant_says_nothing_about_that_of_another(server, settings, checking, path, is_hit, caplog):
    """A prefix that depends on the tenant makes a clock for each."""
    tenant = ["a"]
    settings.CACHEOPS_PREFIX = lambda query: f"{tenant[-1]}:"
    Category.objects.create(name="old")
    for name in ("a", "b"):
        tenant.append(name)
        names()
    for name in ("a", "b", "a", "b"):
        tenant.append(name)
        # The clock of this tenant is older than that of the tenant before, but it has not gone back.
        assert is_hit(names)
    assert "older state" not in caplog.text


def test_a_server_that_refuses_writes_serves_no_hits(server, settings, checking, path, is_hit):
    """Another process may have been refused an invalidation."""
    Category.objects.create(name="old")
    names()
    assert is_hit(names)
    server.client().config_set("min-replicas-to-write", 1)
    with pytest.raises(redis.RedisError, match="NOREPLICAS"):
        names()
    settings.CACHEOPS_DEGRADE_ON_FAILURE = True
    assert not is_hit(names)
    server.client().config_set("min-replicas-to-write", 0)
    settings.CACHEOPS_DEGRADE_ON_FAILURE = False
    assert is_hit(names)


def test_a_server_without_memory_goes_on_serving_hits(server, checking, is_hit):
    """It takes invalidations, which free memory."""
    Category.objects.create(name="old")
    names()
    server.client().config_set("maxmemory-policy", "noeviction")
    server.client().config_set("maxmemory", "1mb")
    assert is_hit(names)
