"""What the near cache and its writers agree on by way of Redis: registrations, leases, messages about changes."""

import os
from contextlib import contextmanager

import pytest
import redis
from django.conf import settings
from django.test import override_settings

from cacheops_lite.schema import Dependency
from cacheops_lite.store import (
    invalidator,
    keys,
    near,
    near_cache,
    near_entries,
    near_leases,
    near_node,
    protocol,
    tracking_connection,
)
from cacheops_lite.store.client import get_client
from cacheops_lite.store.fence import Fence
from cacheops_lite.store.near_entries import NearEntries, NearEntry, size_if_immutable
from cacheops_lite.store.version_set import VersionSet
from cacheops_lite.store.write_set import WriteSet
from tests.conftest import in_thread
from tests.shop.models import Label
from tests.support import services
from tests.support.near import (
    LEASE,
    PROFILE,
    bring_near,
    is_near,
    near_profiles,
    node,
    nothing_received,
    on_server,
    renew,
    settle,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
TABLE = "shop_label"
REGISTRATION = keys.registration_key("", TABLE)
MILLISECONDS = f"{LEASE * 1000:g}".encode()


@pytest.fixture
def store(store, own_server):
    """On a server of its own: Redis tells near caches of each FLUSHDB, whichever of its databases that concerns."""
    with on_server(store, own_server) as client:
        yield client


@pytest.fixture(autouse=True)
def clock(store, monkeypatch):
    with near_profiles(monkeypatch, store) as clock:
        yield clock


def count():
    return Label.objects.count()


def write():
    return Label.objects.create(text=str(Label.objects.nocache().count()))


def registration(store):
    """Return the lease that is registered, in milliseconds."""
    found = store.get(REGISTRATION)
    return found and found.partition(b"|")[0]


def test_a_near_cache_registers_the_tables_of_its_entries(store):
    bring_near(count)
    assert registration(store) == MILLISECONDS
    assert store.get(keys.registration_key("", "shop_product")) is None
    assert 0 < store.ttl(REGISTRATION) <= near_leases.REGISTRATION_SECONDS


def test_a_writer_waits_for_the_lease_that_is_registered(store, slept):
    bring_near(count)
    slept.clear()
    write()
    assert slept == [pytest.approx(LEASE, rel=0.2)]


def test_a_writer_waits_once_for_all_its_tables(store, slept):
    """And for the longest lease."""
    bring_near(count)
    epoch = node().epoch
    store.set(keys.registration_key("", "shop_product"), b"500|" + epoch)
    slept.clear()
    fence = Fence()
    invalidator.invalidate_and_fence({"": WriteSet(tables={TABLE, "shop_product"})}, fence)
    assert slept == [pytest.approx(0.5, rel=0.1)]
    invalidator.release(fence)


def test_a_writer_that_finds_no_registration_waits_once(store, slept):
    """It notes that there is no near cache, for the next ones."""
    write()
    assert slept == [pytest.approx(LEASE, rel=0.2)]
    assert store.get(REGISTRATION).partition(b"|")[0] == b"0"
    slept.clear()
    write()
    assert slept == []


def test_a_writer_that_finds_the_token_of_another_one_waits_too(store, slept):
    """That one has not waited yet."""
    write()
    store.set(REGISTRATION, "?another")
    slept.clear()
    write()
    assert slept == [pytest.approx(LEASE, rel=0.2)]
    assert store.get(REGISTRATION) == b"?another"


def test_a_near_cache_that_registers_meanwhile_is_not_forgotten(store, slept):
    """Not even if its registration is lost again before the writer is done."""
    fence = Fence()
    work = {"": WriteSet(tables={TABLE})}
    invalidator.invalidate_and_fence(work, fence)
    assert store.get(REGISTRATION) == b"?" + fence.token.encode()
    store.delete(REGISTRATION)
    invalidator.invalidate(work, fence)
    assert store.get(REGISTRATION) is None
    slept.clear()
    write()
    assert slept


def test_a_registration_of_another_life_of_the_server_counts_for_nothing(store, slept):
    """It may be older than that of a near cache that was lost with the server."""
    store.set(REGISTRATION, b"0|another")
    write()
    assert slept == [pytest.approx(LEASE, rel=0.2)]


def test_without_near_models_no_writer_waits(store, slept):
    with override_settings(CACHEOPS={"shop.*": {"ops": "all", "timeout": 60}}):
        with override_settings():
            del settings.CACHEOPS_NEAR_LEASE
            near_leases._forget_longest("CACHEOPS_NEAR_LEASE")
            write()
            assert slept == []
            assert not store.exists(REGISTRATION)
        near_leases._forget_longest("CACHEOPS_NEAR_LEASE")
        write()
    # The setting alone tells that other processes may have near models.
    assert slept == [pytest.approx(LEASE, rel=0.2)]


@pytest.mark.parametrize(
    "change", [lambda store: store.delete(REGISTRATION), lambda store: store.set(REGISTRATION, "0|")]
)
def test_a_near_cache_whose_registration_is_lost_keeps_nothing_until_it_has_registered_again(store, clock, change):
    bring_near(count)
    change(store)
    renew()
    settle()
    assert not len(near.entries)
    bring_near(count)
    assert is_near(count)
    assert registration(store) == MILLISECONDS


def test_what_was_asked_for_before_a_registration_was_lost_is_not_kept(store, clock):
    """Its table may have had no registration when Redis replied."""
    bring_near(count)
    near.entries.drop_all_of(node())
    clock.advance(LEASE * 1.5)
    with nothing_received():
        renew()
    store.delete(REGISTRATION)
    # As if the renewal had run only now, and the entry had been asked for in between.
    pending = list(node().pending)
    node().pending.clear()
    node()._connection._connection.disconnect()
    node()._registered[REGISTRATION] = LEASE
    entry = NearEntry("k", 1, False, 1, LEASE, ("k",), (REGISTRATION,), (node(),))
    near.entries.asked["k"] = entry
    pending[0]([None])
    assert "k" not in near.entries.asked


def test_a_write_of_another_client_drops_the_entry(store):
    bring_near(count)
    assert len(near.entries)
    store.delete(*near.entries.all()[0].version_keys[1:2])
    near.forget_lease()
    count()
    settle()
    assert is_near(count) or bring_near(count) == 0


def test_a_value_that_changed_before_it_was_asked_for_is_not_kept(store, monkeypatch):
    """Its versions exist again, but are others."""
    count()
    ask, changed = near._ask, []

    def ask_late(*args):
        if not changed:
            changed.append(in_thread(lambda: (write(), count(), count())))
        ask(*args)

    monkeypatch.setattr(near, "_ask", ask_late)
    assert count() == 0
    settle()
    assert changed
    assert not len(near.entries)
    assert count() == 1


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_emptying_redis_drops_all_entries(store, command):
    bring_near(count)
    store.execute_command(command)
    renew()
    settle()
    assert not len(near.entries)


def test_a_lost_connection_drops_all_entries(store, clock):
    bring_near(count)
    node()._connection._connection.disconnect()
    clock.advance(LEASE * 0.7)
    count()
    assert not len(near.entries)
    assert "lost" in node().reason_off
    clock.advance(near_node.RETRY_SECONDS)
    bring_near(count)
    assert is_near(count)


@pytest.mark.parametrize("use", [renew, near._receive_if_free])
def test_the_client_library_does_not_connect_again_behind_its_back(store, use):
    """The server would track nothing on the new connection."""
    bring_near(count)
    number = store.info("stats")["total_connections_received"]
    node()._connection._connection.disconnect()
    use()
    assert store.info("stats")["total_connections_received"] == number
    assert not len(near.entries)


def test_a_connection_that_the_server_closes_is_noticed_by_the_next_renewal(store, clock):
    bring_near(count)
    number = node()._connection._connection
    number.send_command("CLIENT", "ID")
    node().pending.append(lambda reply: store.client_kill_filter(_id=reply))
    settle_all()
    clock.advance(LEASE * 1.5)
    for _ in range(3):
        count()
        near._receive_if_free()
    assert node().reason_off


def settle_all():
    while node().pending:
        near._receive_if_free()


def test_an_interrupt_ends_the_connection(store, monkeypatch):
    """A reply may be half read."""
    bring_near(count)

    def interrupted(self, seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(near_node.NearNode, "renew_if_older", interrupted)
    near.forget_lease()
    with pytest.raises(KeyboardInterrupt):
        count()
    monkeypatch.undo()
    assert node()._connection is None
    assert not len(near.entries)
    assert near._lock.acquire(blocking=False)
    near._lock.release()


def test_a_server_that_refuses_to_track_keys_turns_it_off(store, monkeypatch):
    """Reads go to Redis, and explain says why."""

    def refused(self):
        raise redis.ResponseError("NOPERM no permission to run 'client|tracking'")

    monkeypatch.setattr(tracking_connection.TrackingConnection, "_track", refused)
    bring_near(count)
    assert not is_near(count)
    assert "NOPERM" in node().reason_off
    assert "off: Redis refuses to track keys: NOPERM" in Label.objects.explain_cache("count").near


def test_a_client_of_another_kind_turns_it_off(store, monkeypatch):
    class Client(redis.Redis):
        pass

    with override_settings(CACHEOPS_CLIENT_CLASS=Client):
        bring_near(count)
        assert not is_near(count)
        assert "plain clients" in node().reason_off


@pytest.mark.parametrize("protocol_version", [2, 3])
def test_the_other_connections_may_have_either_protocol(store, protocol_version):
    separator = "&" if "?" in services.REDIS_URL else "?"
    with override_settings(CACHEOPS_REDIS=f"{services.REDIS_URL}{separator}protocol={protocol_version}"):
        bring_near(count)
        assert is_near(count)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_child_has_nothing_of_its_parent(store):
    bring_near(count)
    with near._lock:
        child = os.fork()
        if not child:
            found = len(near.entries) == 0 and not near.nodes and near._lock.acquire(blocking=False)
            os._exit(0 if found else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert is_near(count)


def test_a_server_that_becomes_a_replica_is_left(store, clock):
    """REPLICAOF keeps connections."""
    bring_near(count)
    node()._role = "master", "another"
    clock.advance(near_node.ROLE_SECONDS * 1.5)
    count()
    settle_all()
    assert "another role" in node().reason_off


def test_values_of_another_server_are_not_kept(store, monkeypatch):
    """While connections of the others already reach another one."""
    bring_near(count)
    version_set = VersionSet("", [Dependency(TABLE, (), None)])
    lookup = protocol.read("cacheops:v:x", version_set, 60)
    lookup.payload, lookup.carried = b"x", [b"tokentokother"]
    near.keep(lookup, 1, near_cache.NearOptions(LEASE, True))
    assert "another server" in node().reason_off
    assert not len(near.entries)


def test_a_process_that_owes_invalidations_does_not_answer(store):
    """Redis may have what is near because of them."""
    bring_near(count)
    with owing():
        assert near.look_up(near.entries.all()[0].key) is None
    assert near.look_up(near.entries.all()[0].key) is not None


@contextmanager
def owing():
    invalidator._overdue[""] = WriteSet(tables={TABLE})
    try:
        yield
    finally:
        invalidator._overdue.clear()


class Node:
    """A server whose lease has expired."""

    leased_from = near_entries.NEVER


def entry(key, size=100, versions=()):
    return NearEntry(key, key, False, size, LEASE, (key, *versions), (), (Node(),))


def test_entries_have_a_limited_size():
    """The ones that were not used lately go first."""
    entries = NearEntries()
    for key in "abc":
        entries.put(entry(key), 300)
    entries.get("a").is_used = True
    entries.put(entry("d"), 300)
    assert [each.key for each in entries.all()] == ["c", "d", "a"]
    assert entries.size == 300
    entries.put(entry("e", 1000), 300)
    assert entries.all() == []
    assert (entries.size, entries._keys_of_version) == (0, {})


def test_a_version_drops_its_entries_only():
    entries = NearEntries()
    for key, versions in ("a", ["x", "y"]), ("b", ["y"]), ("c", []):
        entries.put(entry(key, versions=versions), 1000)
    entries.drop_dependents("y")
    assert [each.key for each in entries.all()] == ["c"]
    assert set(entries._keys_of_version) == {"c"}


def test_a_value_that_is_too_large_is_not_kept(store):
    with override_settings(CACHEOPS_NEAR_SIZE=1000):
        bring_near(count)
        assert not is_near(count)
    with override_settings(CACHEOPS_NEAR_SIZE=0):
        bring_near(count)
        assert not is_near(count)


@pytest.mark.parametrize(
    ("value", "is_rows", "is_kept"),
    [
        (1, False, True),
        ((1, "a", None, (2.5, b"x")), False, True),
        ([(1, "a"), (2, "b")], True, True),
        ([(1, "a"), (2, "b")], False, False),
        ([(1, {"a": 1})], True, False),
        ([(1, [2])], True, False),
        ({"a": 1}, False, False),
        (type("Text", (str,), {})("a"), False, False),
    ],
)
def test_only_immutable_values_are_shared(value, is_rows, is_kept):
    size = size_if_immutable(value, is_rows)
    assert (size is not None) is is_kept
    assert size is None or size > 0


def test_the_lease_of_a_profile_replaces_that_of_the_setting(store, slept):
    with override_settings(CACHEOPS={"shop.*": {**PROFILE, "near_lease": 0.05}}):
        bring_near(count)
        assert registration(store) == b"50"
        slept.clear()
        write()
        assert slept == [pytest.approx(0.05, rel=0.1)]


def test_the_clock_counts_while_the_machine_is_suspended():
    import time

    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this system has no such clock")
    assert near_entries._CLOCK == time.CLOCK_BOOTTIME


def test_writers_do_not_wait_where_there_can_be_no_near_cache(slept):
    """The embedded Redis of tests is reached by this process alone, and tracks no keys."""
    with override_settings(CACHEOPS_REDIS={}, CACHEOPS_CLIENT_CLASS="fakeredis.FakeRedis"):
        get_client().flushdb()
        for _ in range(3):
            write()
    assert slept == []


def test_an_unknown_lease_does_not_replace_a_longer_one_that_is_registered(slept):
    wait = near_leases.LeaseWait()
    wait.add("", b"", [b"500"])
    wait.add_longest()
    wait.wait()
    assert slept == [pytest.approx(0.5, rel=0.1)]
