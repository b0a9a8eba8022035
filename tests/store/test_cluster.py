"""On a Redis Cluster no result is stale, whatever happens to nodes and slots, and each node fails for itself."""

from contextlib import contextmanager

import pytest
import redis
from django.db import transaction
from django.test import override_settings

from cacheops_lite import cache, cached_as, invalidate_all
from cacheops_lite.schema import Dependency
from cacheops_lite.store import VersionSet, commands, connection_support, execute, keys, protocol, server_clients
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.cluster_client import ClusterClient
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product
from tests.support import cluster as clusters
from tests.support import services
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="a cluster does not depend on the database"),
]


each_library = pytest.mark.parametrize("cluster", ["redis", "valkey", "traced"], indirect=True)
# Versions of redis-py before 8, and other libraries, send commands through their own methods.
needs_kept_connections = pytest.mark.skipif(
    not connection_support._IS_SUPPORTED_REDIS_PY, reason="this redis-py does not let connections be kept"
)


@pytest.fixture
def rows():
    old = Category.objects.create(name="old")
    Category.objects.create(name="b")
    label = Label.objects.create(text="l")
    product = Product.objects.create(sku="s", category=old)
    product.labels.add(label)


def names():
    return [each.name for each in Category.objects.order_by("name")]


def by_name():
    return Category.objects.get(name="b").name


def number():
    return Category.objects.filter(name__startswith="o").count()


def joined():
    return [each.category.name for each in Product.objects.select_related("category").order_by("sku")]


def filtered():
    return [each.sku for each in Product.objects.filter(category__name__startswith="o")]


def many_to_many():
    return [each.text for each in Product.objects.get(sku="s").labels.all()]


@cached_as(Category, Label, timeout=60)
def function():
    return "-".join(names() + [each.text for each in Label.objects.order_by("pk")])


READS = [names, by_name, number, joined, filtered, many_to_many, function]


def read_all():
    return [read() for read in READS]


def expected():
    """What the reads should return, from the database."""
    with override_settings(CACHEOPS_ENABLED=False):
        return in_thread(lambda: [getattr(read, "__wrapped__", read)() for read in READS])


def rename(to):
    category = Category.objects.nocache().get(name__startswith="o")
    category.name = to
    category.save()


def relabel(text):
    label = Label.objects.nocache().get()
    label.text = text
    label.save()


WRITES = {
    "save": lambda n: rename(f"o{n}"),
    "update": lambda n: Category.objects.filter(name__startswith="o").update(name=f"o{n}"),
    "several tables": lambda n: (rename(f"o{n}"), relabel(f"l{n}")),
    "m2m": lambda n: Product.objects.get(sku="s").labels.set([Label.objects.create(text=f"m{n}")]),
    "create and delete": lambda n: Category.objects.create(name=f"a{n}").delete(),
    "bulk": lambda n: Category.objects.bulk_create([Category(name=f"z{n}")]),
}


@pytest.mark.parametrize("in_atomic", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_reads_hit_until_a_write_invalidates_them(cluster, rows, is_hit, write, in_atomic):
    for n in range(3):
        assert read_all() == expected()
        assert is_hit(read_all)
        if in_atomic:
            with transaction.atomic():
                WRITES[write](n)
        else:
            WRITES[write](n)
        assert read_all() == expected()


def test_what_a_write_does_not_meet_stays_cached(cluster, rows, is_hit):
    """A write of one table leaves results of others, and other rows of its own."""
    read_all()
    relabel("other")
    assert is_hit(names)
    assert is_hit(joined)
    rename("older")
    assert is_hit(by_name)


def test_values_are_spread_and_tables_are_not(cluster, rows):
    """All keys of a table are on one node; results of all kinds are removed from all nodes."""
    read_all()
    clients = server_clients()
    assert len(clients) == 3
    found = [[key.decode() for key in client.scan_iter("*cacheops:*")] for client in clients.values()]
    for table in ("shop_category", "shop_product", "shop_label"):
        assert sum(any(f"{{{table}}}" in key for key in own) for own in found) == 1
    invalidate_all()
    left = [key for client in clients.values() for key in client.scan_iter("*cacheops:*")]
    assert all(keys.NAMESPACE.encode() + b"b:" in key for key in left)


@needs_kept_connections
def test_requests_for_several_nodes_are_sent_before_the_first_reply_is_read(cluster, rows, is_hit, monkeypatch):
    apart(cluster, "shop_category", "shop_product")
    read_all()
    assert wait_until(lambda: is_hit(joined))
    steps = []
    direct_client = type(next(iter(cacheops_redis._direct()._nodes.values())).direct)
    for name in ("start", "finish"):
        method = getattr(direct_client, name)
        monkeypatch.setattr(
            direct_client, name, lambda *args, name=name, method=method: steps.append(name) or method(*args)
        )
    assert is_hit(joined)
    assert steps == ["start", "start", "finish", "finish"]


@each_library
def test_a_full_index_makes_a_joined_result_depend_on_any_row(cluster):
    """The shape of single rows finds no room there; the next read notices."""
    any_row = Dependency("t", (), ("a", "x"))
    version_set, key = VersionSet("", [any_row], coarse=[any_row]), keys.value_key("", "joined", ["t"])

    def fill():
        lookup = protocol.read(key, version_set, 60)
        protocol.create_versions(lookup, 60)
        return lookup, protocol.fill(lookup, b"value", 60, None, {any_row: {((), "a"): {"1"}}})

    protocol.create_versions(protocol.read(key, version_set, 60), 60)
    index = keys.index_key("", "t")
    execute("SADD", index, *(f"c{number}" for number in range(500 - execute("SCARD", index))))
    lookup, is_stored = fill()
    assert (lookup.version_set, is_stored) == (version_set, False)
    lookup, is_stored = fill()
    assert (lookup.version_set, is_stored) == (version_set.coarsened, True)
    assert protocol.read(key, version_set).payload == b"value"
    assert execute("SCARD", index) == 501


def test_a_prefix_with_a_hash_tag_keeps_everything_in_one_slot(cluster, rows, is_hit, settings):
    settings.CACHEOPS_PREFIX = "{shop}:"
    read_all()
    assert is_hit(read_all)
    rename("older")
    assert read_all() == expected()
    slots = {clusters.slot_of(key) for client in server_clients().values() for key in client.scan_iter("{shop}:*")}
    assert len(slots) == 1


@each_library
def test_the_simple_cache_works_on_all_nodes(cluster):
    values = {f"key{n}": n for n in range(20)}
    for name, value in values.items():
        cache.set(name, value, timeout=60)
    assert cache.get_many(values) == values
    assert cache.incr("key1") == 2
    assert cache.add("key2", "x") is False
    cache.delete_many(["key1", "key2"])
    assert cache.get("key1", None) is None
    cache.clear()
    assert cache.get_many(values) == {}


def slot_of_table(table):
    return clusters.slot_of(f"{{{table}}}")


def apart(cluster, *tables):
    """Let two tables be on different nodes, and return these."""
    first, second = (cluster.node_of(slot_of_table(table)) for table in tables)
    if first is second:
        second = another_master(cluster, first)
        cluster.move_slot(slot_of_table(tables[1]), second)
    return first, second


def another_master(cluster, node):
    return next(each for each in cluster.masters() if each is not node)


@each_library
@pytest.mark.parametrize("table", ["shop_category", "shop_product"])
@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_stale_while_a_slot_moves_key_by_key(cluster, rows, is_hit, caplog, write, table):
    """Reads and writes go on after each key, and log nothing; when all have moved, results are cached again."""
    read_all()
    slot = slot_of_table(table)
    target = another_master(cluster, cluster.node_of(slot))
    source = cluster.begin_move(slot, target)
    for n in range(100):
        if not cluster.move_keys(slot, source, target, limit=1):
            break
        assert read_all() == expected()
        WRITES[write](n)
        assert read_all() == expected()
    cluster.end_move(slot, source, target)
    assert read_all() == expected()
    # What is stored is sent without waiting; the node that the slot has left refuses it.
    assert wait_until(lambda: is_hit(read_all))
    WRITES[write](101)
    assert read_all() == expected()
    assert not caplog.records


@each_library
def test_a_client_with_an_old_map_of_slots_follows(cluster, rows, is_hit):
    read_all()
    slot = slot_of_table("shop_category")
    cluster.move_slot(slot, another_master(cluster, cluster.node_of(slot)))
    rename("older")
    assert read_all() == expected()
    assert wait_until(lambda: is_hit(read_all))


@each_library
@pytest.mark.parametrize("degrade", [False, True])
def test_a_lost_node_takes_only_its_own_results_along(cluster, rows, is_hit, settings, degrade):
    """Without a replica, its tables are read from the database until it is back, or reads of them raise."""
    settings.CACHEOPS_DEGRADE_ON_FAILURE = degrade
    lost, _ = apart(cluster, "shop_category", "shop_label")
    read_all()

    def other():
        return list(Label.objects.all())

    other()
    cluster.kill(lost)
    try:
        if degrade:
            assert names() == ["b", "old"]
            rename("older")
            assert names() == ["b", "older"]
        else:
            with pytest.raises(redis.ConnectionError):
                names()
        assert is_hit(other), "of a table on another node"
    finally:
        cluster.restart(lost)
    assert wait_until(lambda: names() == expected()[0])
    assert wait_until(lambda: is_hit(read_all))
    assert read_all() == expected()


@each_library
def test_a_node_that_hangs_keeps_no_one_waiting_for_long(cluster, rows, is_hit, settings):
    """After the first timeout its tables are read from the database at once; others are read from the cache."""
    settings.CACHEOPS_DEGRADE_ON_FAILURE = True
    settings.CACHEOPS_REDIS_TIMEOUT = 0.3
    hanging, _ = apart(cluster, "shop_category", "shop_label")
    read_all()
    node = cacheops_redis._direct()._node_of(keys.table_version_key("", "shop_category"))
    hanging.process.send_signal(19)
    try:
        assert names() == ["b", "old"]
        assert node.is_left_alone
        assert not cacheops_redis._direct()._node_of("{shop_label}").is_left_alone
    finally:
        hanging.process.send_signal(18)
    assert wait_until(lambda: is_hit(names))


def test_the_commands_that_are_listed_suffice(three_nodes, rows, is_hit, settings):
    """For a user who may run only these, on keys with the prefix; also while a slot moves."""
    names = [*commands.required(is_cluster=True), *commands.OPTIONAL]
    rules = ["on", ">secret", "-@all", *(f"+{name.lower()}" for name in names), "resetkeys", "~shop:*"]
    for node in three_nodes.nodes:
        node.client().execute_command("ACL", "SETUSER", "shop", *rules)
    settings.CACHEOPS_PREFIX = "shop:"
    settings.CACHEOPS_REDIS = f"redis+cluster://shop:secret@127.0.0.1:{three_nodes.port}"
    settings.CACHEOPS_CLIENT_CLASS = None
    read_all()
    assert is_hit(read_all)
    slot = slot_of_table("shop_category")
    target = another_master(three_nodes, three_nodes.node_of(slot))
    source = three_nodes.begin_move(slot, target)
    three_nodes.move_keys(slot, source, target, limit=2)
    rename("older")
    assert read_all() == expected()
    three_nodes.move_keys(slot, source, target)
    three_nodes.end_move(slot, source, target)
    cache.set("key", 1)
    assert cache.incr("key") == 2
    assert read_all() == expected()
    assert wait_until(lambda: is_hit(read_all))
    invalidate_all()


@each_library
def test_connections_that_the_nodes_have_closed_cost_no_error(cluster, rows):
    """Also those with replies that are still to come."""
    for n in range(3):
        read_all()
        rename(f"o{n}")
        for client in server_clients().values():
            client.client_kill_filter(_type="normal", skipme=True)
        assert read_all() == expected()


@needs_kept_connections
@pytest.mark.parametrize("step", ["start", "finish"])
def test_an_interrupted_read_leaves_no_reply_to_the_next_one(cluster, rows, monkeypatch, step):
    """A connection with an unread reply is closed."""
    read_all()
    direct_client, calls = type(cacheops_redis._direct()._node_of("{shop_label}").direct), []
    method = getattr(direct_client, step)

    def interrupted(self, *args):
        calls.append(step)
        if len(calls) == 2:
            monkeypatch.undo()
            raise KeyboardInterrupt
        return method(self, *args)

    monkeypatch.setattr(direct_client, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        cacheops_redis.execute_many([(("MGET", name), None) for name in ("{0}", "{1}", "{2}", "{3}", "{4}", "{5}")])
    kept = [each for node in cacheops_redis._direct()._nodes.values() for each in node.direct._idle]
    assert kept
    # Those with pending replies know of them.
    unread = [each for each in kept if each.connection.is_connected and each.connection.can_read()]
    assert all(each.pending for each in unread)
    assert read_all() == expected()


@pytest.mark.parametrize(
    "address",
    [
        "redis+cluster://127.0.0.1:{0},127.0.0.1:{1}",
        {"host": "127.0.0.1", "port": 0},
        {"startup_nodes": [{"host": "127.0.0.1", "port": 0}, ("127.0.0.1", 1)]},
    ],
)
def test_nodes_are_named_in_several_ways(three_nodes, rows, is_hit, address):
    ports = [node.port for node in three_nodes.nodes]

    def filled(value):
        if isinstance(value, str):
            return value.format(*ports)
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(filled, value))
        return ports[value]

    is_url = isinstance(address, str)
    client_class = None if is_url else "redis.cluster.RedisCluster"
    with override_settings(CACHEOPS_REDIS=filled(address), CACHEOPS_CLIENT_CLASS=client_class):
        read_all()
        assert is_hit(read_all)
        assert isinstance(cacheops_redis._direct(), ClusterClient)
        invalidate_all()


@pytest.fixture(scope="module")
def with_replicas():
    """A cluster of three nodes, each with a replica."""
    with clusters.running(replicas=1) as running:
        yield running


@contextmanager
def refused_as_moved():
    """Suppress the error of a node that has not the slot; a plain client of redis-py 5 has no class for it."""
    try:
        yield
    except redis.ResponseError as error:
        if not isinstance(error, redis.exceptions.MovedError) and "MOVED" not in str(error):
            raise


@pytest.mark.parametrize("read", READS)
def test_a_promoted_replica_that_lags_brings_no_result_back(with_replicas, rows, is_hit, read):
    """What it has is as old as before the write; results are cached on it from then on."""
    tables = ("shop_category", "shop_product", "shop_product_labels", "shop_label")
    with override_settings(CACHEOPS_REDIS=with_replicas.url, CACHEOPS_CLIENT_CLASS=None):
        read()
        assert is_hit(read)
        masters = {with_replicas.node_of(slot_of_table(table)) for table in tables}
        before = [(key, node.client().dump(key)) for node in masters for key in node.client().scan_iter("*cacheops:*")]
        rename("older")
        relabel("other")
        for master in masters:
            promoted = with_replicas.fail_over(master, ["TAKEOVER"])
            for key, dump in before:
                with refused_as_moved():
                    promoted.client().restore(key, 10000, dump, replace=True)
        assert [read()] == [value for each, value in zip(READS, expected(), strict=True) if each is read]
        assert wait_until(lambda: is_hit(read))
        rename("oldest")
        assert [read()] == [value for each, value in zip(READS, expected(), strict=True) if each is read]
        invalidate_all()
