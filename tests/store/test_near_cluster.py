"""On a Redis Cluster, a near cache has a lease from each node, and is as exact as with one server."""

import itertools
import threading
from functools import partial

import pytest
from django.db import transaction
from django.test import override_settings

from cacheops_lite import cached_as, invalidate_all
from cacheops_lite.observe import Reason
from cacheops_lite.store import (
    client,
    execute,
    invalidator,
    keys,
    near,
    near_cache,
    near_node,
)
from cacheops_lite.store.fence import Fence
from cacheops_lite.store.near_entries import NearEntry
from cacheops_lite.store.write_set import WriteSet
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product
from tests.store.test_cluster import WRITES, another_master, apart, slot_of_table
from tests.support import cluster as clusters
from tests.support import services
from tests.support.near import LEASE, bring_near, decided, is_near, near_profiles, nothing_received, settle
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.DATABASE != "sqlite", reason="a cluster does not depend on the database"),
]


@pytest.fixture
def clock(cluster, monkeypatch):
    with near_profiles(monkeypatch, None) as clock:
        yield clock


@pytest.fixture
def rows(clock):
    old = Category.objects.create(name="old")
    product = Product.objects.create(sku="s", category=old)
    product.labels.add(Label.objects.create(text="l"))


def names():
    return [each.name for each in Category.objects.order_by("name")]


def joined():
    return [each.category.name for each in Product.objects.select_related("category").order_by("sku")]


def related():
    return [each.text for each in Product.objects.get(sku="s").labels.all()]


def in_category():
    return Product.objects.filter(category__name__startswith="o").count()


def of_two_tables():
    # Decorated here: whether it is near follows from the profiles.
    decorated = cached_as(Category, Label, timeout=60)(texts)
    return decorated()


def texts():
    return "-".join(names() + [each.text for each in Label.objects.order_by("pk")])


READS = [names, joined, related, in_category, of_two_tables]


def read_all():
    return [read() for read in READS]


def expected():
    """What the reads should return, from the database."""
    with override_settings(CACHEOPS_ENABLED=False):
        return in_thread(read_all)


def registration(table):
    return execute("GET", keys.registration_key("", table))


@pytest.mark.parametrize("in_atomic", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_near_reads_hit_until_a_write_invalidates_them(rows, write, in_atomic):
    """Results of one table and of several, whose versions lie on several nodes."""
    for n in range(3):
        assert bring_near(read_all) == expected()
        assert is_near(read_all)
        if in_atomic:
            with transaction.atomic():
                WRITES[write](n)
        else:
            WRITES[write](n)
        assert read_all() == expected()


@pytest.mark.parametrize("write", WRITES)
def test_a_write_of_another_process_reaches_the_near_cache(rows, clock, write):
    """Its messages come before the reply to the next renewal, from each node."""
    other_process = partial(in_thread, lambda: write_without_this_near_cache(WRITES[write], 1))
    bring_near(read_all)
    other_process()
    clock.advance(LEASE * 1.5)
    for _ in range(2):
        assert read_all() == expected()
        settle()


def write_without_this_near_cache(write, n):
    forget, near.forget_lease = near.forget_lease, lambda: None
    try:
        write(n)
    finally:
        near.forget_lease = forget


def test_a_result_of_two_nodes_needs_the_leases_of_both(cluster, rows, clock):
    apart(cluster, "shop_category", "shop_product")
    bring_near(joined)
    assert is_near(joined)
    assert len(near.nodes) == 2
    for node in near.nodes:
        leased_from, node.leased_from = node.leased_from, near_cache.NEVER
        with nothing_received():
            assert not is_near(joined)
        node.leased_from = leased_from
        settle()
        assert is_near(joined)


def test_a_change_between_the_answers_of_two_nodes_keeps_the_entry_out(cluster, rows):
    """The node that changes it has already answered that it is unchanged."""
    entry = NearEntry("k", 1, False, 1, LEASE, ("k", "version"), (), ("one", "other"))
    near.entries.asked["k"] = entry
    near.entries.drop_dependents("version")
    assert not near.entries.take_asked(entry)


def test_a_writer_waits_for_the_lease_that_is_registered_on_the_nodes_of_its_tables(rows, slept):
    """Once, for all tables of a transaction."""
    bring_near(read_all)
    slept.clear()
    with transaction.atomic():
        WRITES["several tables"](1)
    assert slept == [pytest.approx(LEASE, rel=0.2)]
    assert registration("shop_category").partition(b"|")[0] == f"{LEASE * 1000:g}".encode()


def test_a_writer_that_finds_no_registration_waits_once(rows, slept):
    """It notes on each node that there is no near cache."""
    for table in ("shop_category", "shop_label"):
        execute("DEL", keys.registration_key("", table))
    for turn in range(2):
        slept.clear()
        with transaction.atomic():
            WRITES["several tables"](turn)
        assert slept == ([pytest.approx(LEASE, rel=0.2)] if turn == 0 else [])
    for table in ("shop_category", "shop_label"):
        assert wait_until(lambda table=table: registration(table).partition(b"|")[0] == b"0")


def test_a_registration_of_another_node_counts_for_nothing(rows, slept):
    """It came with its slot, or with a snapshot."""
    execute("SET", keys.registration_key("", "shop_category"), "0|another!")
    WRITES["save"](1)
    assert slept == [pytest.approx(LEASE, rel=0.2)]


def test_a_node_that_was_replaced_while_a_writer_knew_the_old_one_is_asked_again(rows, slept, monkeypatch):
    """The call is repeated with the epoch of the node that answers."""
    execute("DEL", keys.registration_key("", "shop_label"))
    node = client.client_for(keys.fence_key("", "shop_label"))
    watch = next(each.watch for each in client._direct()._nodes.values() if each.direct.client is node)
    watch.epoch = b"another!"
    fence = Fence()
    invalidator.invalidate_and_fence({"": WriteSet(tables={"shop_label"})}, fence)
    assert watch.epoch != b"another!"
    assert fence.lease_wait.unknown[""]["shop_label"] == watch.epoch
    invalidator.release(fence)


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("table", ["shop_category", "shop_product"])
def test_nothing_is_stale_while_a_slot_moves(cluster, rows, clock, settings, table, relaxed):
    """The node that has lost the slot refuses the next renewal."""
    if relaxed:
        settings.CACHEOPS = {"*.*": {"ops": "all", "timeout": 60, "near": "relaxed"}, "shop.unwatched": None}
    bring_near(read_all)
    slot = slot_of_table(table)
    target = another_master(cluster, cluster.node_of(slot))
    source = cluster.begin_move(slot, target)
    for n in range(100):
        if not cluster.move_keys(slot, source, target, limit=1):
            break
        in_thread(lambda n=n: write_without_this_near_cache(WRITES["several tables"], n))
        clock.advance(LEASE * 1.5)
        assert read_all() == expected()
        settle()
        assert read_all() == expected()
    cluster.end_move(slot, source, target)
    clock.advance(near_node.RETRY_SECONDS)

    def becomes_near():
        bring_near(read_all)
        return is_near(read_all)

    assert wait_until(becomes_near)
    in_thread(lambda: write_without_this_near_cache(WRITES["several tables"], 101))
    clock.advance(LEASE * 1.5)
    assert read_all() == expected()


@pytest.mark.parametrize("near_option", [True, "relaxed"])
def test_a_node_that_lost_a_slot_and_says_nothing_of_its_keys_grants_no_lease(
    cluster, rows, clock, settings, monkeypatch, near_option
):
    """It may remove them much later."""
    settings.CACHEOPS = {"*.*": {"ops": "all", "timeout": 60, "near": near_option}, "shop.unwatched": None}
    bring_near(names)
    assert is_near(names)
    monkeypatch.setattr(near.entries, "drop_dependents", lambda key: None)
    slot = slot_of_table("shop_category")
    cluster.move_slot(slot, another_master(cluster, cluster.node_of(slot)))
    in_thread(lambda: write_without_this_near_cache(WRITES["save"], 1))
    clock.advance(LEASE * 1.5)
    for _ in range(3):
        assert names() == ["o1"]
        settle()


def test_a_lost_node_takes_only_its_own_entries_along(cluster, rows, clock, settings):
    settings.CACHEOPS_DEGRADE_ON_FAILURE = True
    lost, _ = apart(cluster, "shop_category", "shop_label")

    def labels():
        return [each.text for each in Label.objects.all()]

    def both():
        return names(), labels()

    bring_near(both)
    assert is_near(both)
    cluster.kill(lost)
    try:
        clock.advance(LEASE * 1.5)
        for _ in range(3):
            names()
            bring_near(labels)
        assert is_near(labels)
        assert not is_near(names)
        assert any(node.reason_off for node in near.nodes)
    finally:
        cluster.restart(lost)
    clock.advance(near_node.RETRY_SECONDS)

    def becomes_near():
        clock.advance(near_node.RETRY_SECONDS)
        bring_near(both)
        return is_near(both)

    assert wait_until(becomes_near)


@pytest.fixture(scope="module")
def with_replicas():
    """A cluster of three nodes, each with a replica."""
    with clusters.running(replicas=1) as running:
        yield running


def test_a_node_that_becomes_a_replica_loses_its_entries(with_replicas, monkeypatch, settings):
    """Its promoted replica takes the writes from then on."""
    settings.CACHEOPS_REDIS, settings.CACHEOPS_CLIENT_CLASS = with_replicas.url, None
    with near_profiles(monkeypatch, None) as clock:
        Category.objects.create(name="old")
        bring_near(names)
        with_replicas.fail_over(with_replicas.node_of(slot_of_table("shop_category")))
        in_thread(lambda: write_without_this_near_cache(WRITES["save"], 1))
        clock.advance(LEASE * 1.5)
        names()
        settle()
        assert names() == ["o1"]
        invalidate_all()


def test_nothing_is_stale_beside_a_writer_and_a_moving_slot(cluster, rows, monkeypatch):
    """A reader and a writer in threads, with real clocks, while the slot of their table moves to and fro."""
    monkeypatch.undo()
    Label.objects.update_or_create(pk=1, defaults={"text": "0"})
    slot, stop, acknowledged, errors, stale = slot_of_table("shop_label"), threading.Event(), [0], [], []

    def write():
        try:
            for n in itertools.count(1):
                if stop.is_set():
                    break
                write_without_this_near_cache(lambda n: Label.objects.filter(pk=1).update(text=str(n)), n)
                acknowledged[0] = n
                # Time for some near hits.
                stop.wait(LEASE)
        except Exception as error:
            errors.append(error)

    writer = threading.Thread(target=lambda: in_thread(write))
    writer.start()
    try:
        with decided() as reasons:
            for _ in range(6):
                cluster.move_slot(slot, another_master(cluster, cluster.node_of(slot)))
                for _ in range(200):
                    before = acknowledged[0]
                    text = Label.objects.get(pk=1).text
                    if int(text) < before:
                        stale.append((text, before))
    finally:
        stop.set()
        writer.join()
    assert not errors
    assert not stale
    assert Reason.NEAR_HIT in reasons
