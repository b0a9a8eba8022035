"""The contract of the store, in both modes and on both kinds of Redis: unchanged versions keep a value valid."""

import time

import pytest

from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import (
    cluster_invalidation,
    dependency_index,
    invalidation_script,
    invalidator,
    keys,
    protocol,
    stored_value,
)
from cacheops_lite.store.fill_lock import acquire_lock, deadline, new_token, release_lock, wait_for_value
from cacheops_lite.store.stored_value import MISS
from cacheops_lite.store.version_set import VersionSet
from cacheops_lite.store.write_set import MAX_CHANGES_PER_TABLE, Change, InsertedRows, WriteSet
from cacheops_lite.utils.lru import LruMap
from tests.support import services

ANY = Dependency("t", (), None)
ONE = Dependency("t", (("a", "1"),), None)
TWO = Dependency("t", (("a", "2"),), None)
NARROW = Dependency("t", (("a", "1"),), ("a", "x"))
OTHER = Dependency("u", (), None)


def read_value(name, version_set):
    return protocol.read(keys.value_key("", name, version_set.tables), version_set)


def store_value(name, *dependencies, payload=b"value", timeout=60):
    """Read, miss and fill, as a reader does."""
    lookup = read_value(name, VersionSet("", dependencies))
    protocol.create_versions(lookup, timeout)
    assert protocol.fill(lookup, payload, timeout)


def load_value(name, *dependencies):
    return read_value(name, VersionSet("", dependencies)).payload


def invalidate_change(old=None, new=None, changed=None, table="t", **kwargs):
    invalidator.invalidate({"": WriteSet(changes=[Change(table, old, new, changed, **kwargs)])})


def test_a_value_is_found_with_all_of_its_dependencies(store):
    """It is found by any number of reads, and with the dependencies in any order."""
    store_value("k", ONE, OTHER)
    assert load_value("k", ONE, OTHER) == load_value("k", OTHER, ONE) == b"value"


@pytest.mark.parametrize("image", ["old", "new"])
def test_a_change_invalidates_only_values_whose_conditions_its_images_meet(store, image):
    """The before image and the after image count; values with other conditions or of other tables stay valid."""
    store_value("one", ONE)
    store_value("two", TWO)
    store_value("any", ANY)
    store_value("other", OTHER)
    invalidate_change(**{image: {"a": "1"}})
    assert load_value("one", ONE) is MISS
    assert load_value("any", ANY) is MISS
    assert load_value("two", TWO) == load_value("other", OTHER) == b"value"


def test_a_row_that_moves_invalidates_values_of_its_old_and_new_condition(store):
    for name, dependency in (("one", ONE), ("two", TWO)):
        store_value(name, dependency)
    invalidate_change({"a": "1"}, {"a": "2"}, ["a"])
    assert load_value("one", ONE) is load_value("two", TWO) is MISS


def test_a_change_of_unread_columns_invalidates_nothing(store):
    """Neither the conditions nor the result depend on them."""
    store_value("narrow", NARROW)
    store_value("one", ONE)
    invalidate_change({"a": "1"}, {"a": "1"}, ["y"])
    assert load_value("narrow", NARROW) == b"value"
    assert load_value("one", ONE) is MISS


def test_a_change_of_a_column_that_is_read_invalidates(store):
    """This applies even if the columns of the conditions are unchanged."""
    store_value("narrow", NARROW)
    invalidate_change({"a": "1"}, {"a": "1"}, ["x"])
    assert load_value("narrow", NARROW) is MISS


def test_a_change_of_no_column_invalidates_nothing(store):
    """Saving an unchanged row is such a change."""
    store_value("one", ONE)
    invalidate_change({"a": "1"}, {"a": "1"}, [])
    assert load_value("one", ONE) == b"value"


def test_an_inserted_row_invalidates_results_that_read_no_column(store):
    """A count reads no column."""
    counting = Dependency("t", (), ())
    store_value("count", counting)
    invalidate_change(new={"a": "5"})
    assert load_value("count", counting) is MISS


def test_an_image_that_lacks_a_column_invalidates_the_table(store):
    """Invalidating too much is correct; invalidating too little is not."""
    store_value("one", ONE)
    store_value("two", TWO)
    store_value("other", OTHER)
    invalidate_change(old={"b": "1"})
    assert load_value("one", ONE) is load_value("two", TWO) is MISS
    assert load_value("other", OTHER) == b"value"


@services.on_one_server
def test_dependency_shapes_unknown_to_this_process_are_matched(store, monkeypatch):
    """The script reports that there are others, and is called a second time; later changes need one call."""
    calls, run = [], invalidation_script.run_script
    monkeypatch.setattr(invalidation_script, "run_script", lambda *args: calls.append(args) or run(*args))
    dependency_index._known.clear()
    image = {"a": "1", "b": "2", "c": "3"}
    for turns, dependency, other in [
        (2, ONE, TWO),
        (1, ONE, TWO),
        (2, Dependency("t", (("b", "2"), ("c", "3")), None), Dependency("t", (("b", "3"), ("c", "3")), None)),
        (1, ONE, TWO),
    ]:
        store_value("falls", dependency, OTHER)
        store_value("stays", other, OTHER)
        calls.clear()
        changes = [Change("t", image, image, ["x"]), Change("u", None, {}), Change("nobody", None, image)]
        invalidator.invalidate({"": WriteSet(changes=changes[:1])})
        assert load_value("falls", dependency, OTHER) is MISS
        assert load_value("stays", other, OTHER) == b"value"
        assert len(calls) == turns
    store_value("one", ONE)
    store_value("other", OTHER)
    store_value("two", TWO)
    dependency_index._known.clear()
    invalidator.invalidate({"": WriteSet(changes=changes, tables={"gone"})})
    assert load_value("one", ONE) is load_value("other", OTHER) is MISS
    assert load_value("two", TWO) == b"value"


@pytest.mark.parametrize(
    "member", [b"", b"\xff\xfe", b"a", b"a,b", b"|", b"a|", b"a||", b"a|b|c|d", b"x" * 1000, b"1,2|*"]
)
def test_foreign_members_of_a_dependency_index_are_harmless(store, member):
    """Values that they could match are invalidated, other tables stay valid, and no error is raised."""
    store_value("one", ONE)
    store_value("other", OTHER)
    store.sadd(keys.index_key("", "t"), member)
    invalidate_change(new={"a": "1"})
    assert load_value("one", ONE) is MISS
    assert load_value("other", OTHER) == b"value"


def test_shapes_added_by_another_process_to_an_empty_index_are_matched(store, monkeypatch):
    """The index was empty when a bulk write read it, before any value was cached."""
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    assert required_columns().shapes["t"] == set()
    store_value("one", ONE)
    store_value("two", TWO)
    invalidate_change(new={"a": "1"})
    assert load_value("one", ONE) is MISS
    assert load_value("two", TWO) == b"value"


def test_a_recreated_dependency_index_is_not_mistaken_for_the_former_one(store, monkeypatch):
    """This applies even if another process put as many shapes into it."""
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    store_value("one", ONE)
    invalidate_change(new={"a": "5", "b": "5"})
    before = dependency_index.known("", "t")
    store.delete(keys.index_key("", "t"))
    other = Dependency("t", (("b", "1"),), None)
    store_value("other", other)
    invalidate_change(new={"a": "1", "b": "1"})
    assert load_value("other", other) is MISS
    assert dependency_index.known("", "t").size == before.size
    assert dependency_index.known("", "t").incarnation != before.incarnation


def test_a_missing_dependency_index_invalidates_the_table(store):
    """It was evicted or flushed, and without it no change can be matched."""
    store_value("one", ONE)
    store.delete(keys.index_key("", "t"))
    invalidate_change(new={"a": "2"})
    assert load_value("one", ONE) is MISS


def test_a_recreated_dependency_index_has_a_new_table_version(store):
    """Changes made while the index was missing might have met values that are still stored."""
    store_value("one", ONE)
    store.delete(keys.index_key("", "t"))
    store_value("two", TWO)
    assert load_value("one", ONE) is MISS
    assert load_value("two", TWO) == b"value"


def test_a_version_made_under_an_old_table_version_is_invalid(store):
    """Its shape may be missing from the dependency index that was created since."""
    store_value("one", ONE)
    store.delete(keys.index_key("", "t"))
    store_value("b", Dependency("t", (("b", "1"),), None))
    store_value("one", ONE)
    invalidate_change(new={"a": "1", "b": "2"})
    assert load_value("one", ONE) is MISS


@services.on_one_server
def test_the_first_miss_of_a_key_creates_its_versions_with_the_read(store, monkeypatch):
    """A first miss takes two round trips: the read itself creates absent versions."""
    monkeypatch.setattr(protocol, "probably_cached", LruMap(1))
    lookup = protocol.read(keys.value_key("", "new", ["t"]), VersionSet("", [ONE, OTHER]), 60)
    assert lookup.payload is MISS
    versions = list(lookup.versions)
    protocol.create_versions(lookup, 60)
    assert lookup.versions == versions
    assert protocol.fill(lookup, b"value", 60)
    assert load_value("new", ONE, OTHER) == b"value"


def test_a_value_filled_by_another_process_is_found(store, monkeypatch):
    """Whether a key is probably cached is a guess, which changes no result."""
    store_value("one", ONE)
    key = keys.value_key("", "one", ["t"])
    for timeout in (0, 60):
        monkeypatch.setattr(protocol, "probably_cached", LruMap(1))
        assert protocol.read(key, VersionSet("", [ONE]), timeout).payload == b"value"
    invalidate_change(new={"a": "1"})
    monkeypatch.setattr(protocol, "probably_cached", LruMap(1))
    assert protocol.read(key, VersionSet("", [ONE]), 60).payload is MISS


def test_the_loss_of_any_key_causes_a_miss_and_never_a_stale_value(store):
    """Redis may evict any key: only values filled after the change are returned."""
    store_value("one", ONE)
    for lost in list(store.scan_iter()):
        store_value("one", ONE, payload=b"old")
        store.delete(lost)
        invalidate_change({"a": "1"}, {"a": "2"}, ["a"])
        assert load_value("one", ONE) is MISS, lost


def test_a_fill_that_a_change_overtook_is_refused(store):
    """Versions are read before the rows."""
    lookup = miss("one", ONE)
    invalidate_change(new={"a": "1"})
    assert not fill(lookup)
    assert load_value("one", ONE) is MISS


def test_a_fill_that_a_change_and_another_fill_overtook_is_refused(store):
    """It is refused although the other reader registered the same dependencies again."""
    lookup = miss("one", ONE)
    invalidate_change(new={"a": "1"})
    store_value("one", ONE, payload=b"new")
    assert not fill(lookup, b"old")
    assert load_value("one", ONE) == b"new"


def test_a_fill_that_an_invalidation_of_the_table_overtook_is_refused(store):
    lookup = miss("one", ONE)
    invalidator.invalidate({"": WriteSet(tables={"t"})})
    assert not fill(lookup)


def miss(name, *dependencies):
    lookup = read_value(name, VersionSet("", dependencies))
    protocol.create_versions(lookup, 60)
    return lookup


def fill(lookup, payload=b"value"):
    return protocol.fill(lookup, payload, 60)


def required_columns():
    dependency_index.load({"t": [""]})
    return dependency_index.required_columns({"t": [""]})


def test_the_dependency_index_lists_the_columns_that_images_need(store):
    """Images contain no other columns; None means all columns."""
    assert required_columns().conditions["t"] == set()
    store_value("narrow", NARROW)
    found = required_columns()
    assert (found.conditions["t"], found.reads["t"]) == ({"a"}, {"a", "x"})
    assert [found.is_read("t", column) for column in "axz"] == [True, True, False]
    assert found.shapes["t"] == {"a"}
    store_value("one", ONE)
    assert required_columns().reads["t"] is None
    assert required_columns().is_read("t", "z")


def test_inserted_rows_invalidate_only_values_whose_conditions_they_meet(store):
    """This applies to shapes with no, one or several columns."""
    pair = Dependency("t", (("a", "1"), ("b", "2")), None)
    crossed = Dependency("t", (("a", "1"), ("b", "3")), None)
    for name, dependency in {"one": ONE, "two": TWO, "any": ANY, "pair": pair, "crossed": crossed}.items():
        store_value(name, dependency)
    met = {"": {""}, "a": {"a=1", "a=7"}, "a,b": {"a=1&b=2", "a=7&b=3"}}
    invalidator.invalidate({"": WriteSet(changes=[InsertedRows("t", met)])})
    assert load_value("one", ONE) is load_value("any", ANY) is load_value("pair", pair) is MISS
    assert load_value("two", TWO) == load_value("crossed", crossed) == b"value"


def test_inserted_rows_that_cannot_be_matched_with_a_shape_invalidate_the_table(store):
    """The shape was added after the rows were read, or the database computes a column of its conditions."""
    store_value("two", TWO)
    store_value("any", ANY)
    invalidator.invalidate({"": WriteSet(changes=[InsertedRows("t", {"": {""}})])})
    assert load_value("two", TWO) is load_value("any", ANY) is MISS


def is_table_invalidated(changes):
    """Return whether the script gets the whole table instead of these changes."""
    return WriteSet(changes=changes).by_table() == {"t": None}


def test_inserted_rows_count_by_their_distinct_conditions(store):
    """A thousand rows that meet two conditions are few changes; with many conditions the table is invalidated."""
    few = InsertedRows("t", {"": {""}, "a": {"a=1", "a=2"}})
    many = InsertedRows("t", {"": {""}, "a": {f"a={i}" for i in range(MAX_CHANGES_PER_TABLE)}})
    assert not is_table_invalidated([few])
    assert not is_table_invalidated([many])
    assert is_table_invalidated([few, many])
    store_value("one", ONE)
    invalidator.invalidate({"": WriteSet(changes=[few, many])})
    assert load_value("one", ONE) is MISS


def test_changes_that_meet_too_many_dependencies_invalidate_the_table(store, monkeypatch):
    """Few rows and many shapes can make many dependencies, too."""
    monkeypatch.setattr(dependency_index, "MAX_DEPENDENCIES", 3)
    for count, is_valid in [(3, True), (4, False)]:
        store_value("one", ONE)
        changes = [Change("t", None, {"a": str(10 + i)}) for i in range(count)]
        invalidator.invalidate({"": WriteSet(changes=changes)})
        assert (load_value("one", ONE) is not MISS) == is_valid


@pytest.fixture
def calls(monkeypatch):
    """Return a list that gets the arguments of each call of the script that invalidates, after it was executed.

    A function in its attribute `between` is called once with the arguments of the next call, after that.
    """
    run_script, run_scripts = invalidation_script.run_script, cluster_invalidation.run_scripts
    calls = Calls()

    def run_one(name, names, args, epoch=None):
        reply = run_script(name, names, args, epoch)
        calls.add(args)
        return reply

    def run_all(name, requests):
        replies = run_scripts(name, requests)
        for _, args, _ in requests:
            calls.add(args)
        return replies

    monkeypatch.setattr(invalidation_script, "run_script", run_one)
    monkeypatch.setattr(cluster_invalidation, "run_scripts", run_all)
    return calls


class Calls(list):
    def __init__(self):
        self.between = []

    def add(self, args):
        self.append(args)
        while self.between:
            self.between.pop()(args)


def many_changes(store):
    """Return changes that meet more dependencies than one call takes, but not too many, with the index known."""
    store_value("any", ANY)
    store_value("one", ONE)
    # Without a known index, the first call asks for it.
    invalidate_change(new={"a": "0"})
    # More changes than MAX_CHANGES_PER_TABLE invalidate the table.
    return [Change("t", None, {"a": str(i)}) for i in range(MAX_CHANGES_PER_TABLE - 10)]


def test_changes_that_meet_many_dependencies_take_several_short_calls(store, calls):
    """A script holds up every other client of Redis.  The calls together invalidate all, and no more."""
    changes = many_changes(store)
    met = {i: Dependency("t", (("a", str(i)),), None) for i in (0, len(changes) // 2, len(changes) - 1)}
    for i, dependency in met.items():
        store_value(f"met {i}", dependency)
    store_value("not met", Dependency("t", (("a", "none"),), None))
    store_value("other", OTHER)
    calls.clear()
    dropped = set()
    invalidator.invalidate({"": WriteSet(changes=[*changes, Change("u", None, {"a": "1"})])}, dropped=dropped)
    # That many take Redis at most 2 milliseconds.
    assert max(map(len, calls)) < 350
    assert all(load_value(f"met {i}", dependency) is MISS for i, dependency in met.items())
    assert load_value("other", OTHER) is MISS
    assert load_value("not met", Dependency("t", (("a", "none"),), None)) == b"value"
    assert {f"t:a={i}|*" for i in met} <= dropped


def test_the_first_of_several_calls_drops_the_versions_of_any_row(store, calls):
    """Under such a version, fills would create those of single rows before the next call."""
    # Dependencies are a set: some of so many would come later by chance.
    of_any_row = [Dependency("t", (), (f"x{i}",)) for i in range(8)]
    for each in of_any_row:
        store_value(each.columns[0], each)
    changes = many_changes(store)
    for each in of_any_row:
        store_value(each.columns[0], each)
    calls.clear()
    found = []
    calls.between.append(lambda args: found.extend(load_value(each.columns[0], each) for each in of_any_row))
    invalidator.invalidate({"": WriteSet(changes=changes)})
    assert found == [MISS] * len(of_any_row)
    assert len(calls) > 1


def test_a_fence_that_is_lost_between_two_calls_keeps_nothing_valid_that_was_read_meanwhile(store, calls):
    """Before the commit, such a read finds the old rows.  A second call that fenced again would hide the loss."""
    changes = many_changes(store)
    calls.clear()

    read = []

    def lose_fence_and_read(args):
        store.delete(keys.fence_key("", "t"))
        read.append(first_dependency(args))
        store_value("meanwhile", *read)

    fence, write_sets = invalidator.Fence(), {"": WriteSet(changes=changes)}
    calls.between.append(lose_fence_and_read)
    invalidator.invalidate_and_fence(write_sets, fence)
    assert len(calls) > 1
    assert load_value("meanwhile", *read) == b"value"
    invalidator.invalidate(write_sets, fence)
    assert load_value("meanwhile", *read) is MISS


def first_dependency(args):
    """Return the first dependency with a condition that a call of the script names."""
    name = next(each for each in args if str(each).startswith("a="))
    return Dependency("t", (("a", name.removeprefix("a=").removesuffix("|*")),), None)


def test_too_many_changes_invalidate_the_table(store):
    """The script gets the table instead of the images."""
    store_value("one", ONE)
    store_value("other", OTHER)
    changes = [Change("t", None, {"a": str(i)}) for i in range(MAX_CHANGES_PER_TABLE + 1)]
    assert is_table_invalidated(changes)
    invalidator.invalidate({"": WriteSet(changes=changes)})
    assert load_value("one", ONE) is MISS
    assert load_value("other", OTHER) == b"value"


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 16, b"x" * 1000, "LOCK"])
def test_a_foreign_value_is_a_miss(store, value):
    """It is truncated or was written by another program."""
    store_value("one", ONE)
    store.set(keys.value_key("", "one", ["t"]), value)
    assert load_value("one", ONE) is MISS


COARSE_DEPENDENCIES = {"plain": (), "coarse": [ANY]}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("coarse", COARSE_DEPENDENCIES)
@pytest.mark.parametrize("value", [b"", b"x" * 15, b"x" * 1000, ["x"]])
def test_a_foreign_value_is_a_miss_and_is_replaced_by_the_next_fill(store, monkeypatch, value, coarse, known):
    """This applies to each command that may read it."""
    version_set = VersionSet("", [ANY, OTHER], coarse=COARSE_DEPENDENCIES[coarse])
    key = keys.value_key("", "one", ["t"])

    def filled():
        lookup = protocol.read(key, version_set, 60)
        protocol.create_versions(lookup, 60)
        return protocol.fill(lookup, b"value", 60)

    assert filled()
    store.delete(key)
    store.rpush(key, *value) if isinstance(value, list) else store.set(key, value)
    if not known:
        monkeypatch.setattr(protocol, "probably_cached", LruMap(1))
    assert protocol.read(key, version_set, 60).payload is MISS
    assert filled()
    assert protocol.read(key, version_set, 60).payload == b"value"


def test_clear_deletes_only_keys_of_the_cache(store):
    """Other programs may use the same Redis, with any names of keys."""
    store_value("one", ONE)
    store.set("mine", 1)
    store.set("cacheops", 1)
    store.set("p?cacheops:v:x", 1)
    invalidator.clear("")
    assert sorted(store.scan_iter()) == [b"cacheops", b"mine", b"p?cacheops:v:x"]
    invalidator.clear("p?")
    assert sorted(store.scan_iter()) == [b"cacheops", b"mine"]


def test_a_change_under_one_prefix_leaves_values_of_another_prefix(store):
    lookup = miss_under_prefix("p*", "one")
    invalidator.invalidate({"": WriteSet(tables={"t"})})
    assert fill(lookup)


def miss_under_prefix(prefix, name):
    lookup = protocol.read(keys.value_key(prefix, name, ["t"]), VersionSet(prefix, [ONE]))
    protocol.create_versions(lookup, 60)
    return lookup


def test_every_key_of_the_cache_expires(store):
    """Otherwise memory would grow without bound."""
    store_value("one", ONE, NARROW, OTHER, timeout=30)
    assert acquire_lock("cacheops:v:one", "token")
    for key in store.scan_iter():
        assert 0 < store.ttl(key) <= 300, key


def test_versions_live_at_least_as_long_as_their_values(store):
    """A longer timeout prolongs versions that were made for a shorter one."""
    store_value("short", ONE, timeout=10)
    store_value("long", ONE, timeout=1000)
    for key in VersionSet("", [ONE]).version_keys:
        assert store.ttl(key) >= 1000


def test_a_timeout_of_zero_stores_nothing(store):
    lookup = miss("one", ONE)
    assert not protocol.fill(lookup, b"value", 0)
    assert load_value("one", ONE) is MISS


@pytest.mark.parametrize("insideout", [False, True])
def test_values_stay_valid_when_insideout_is_switched(store, settings, insideout):
    """Values are the same with and without conjunction sets, which only free memory."""
    store_value("one", ONE)
    settings.CACHEOPS_INSIDEOUT = insideout
    assert load_value("one", ONE) == b"value"
    invalidate_change(new={"a": "1"})
    assert load_value("one", ONE) is MISS


@services.on_one_server
def test_conjunction_sets_are_freed_and_kept_small(store, settings):
    """An invalidation frees the results that it invalidates; writes remove expired members."""
    settings.CACHEOPS_INSIDEOUT = False
    conjunction_set = keys.conjunction_set_key("", keys.name_dependency(ONE).dependency)
    for i in range(200):
        store_value(f"k{i}", ONE)
        if i >= 10:
            store.delete(keys.value_key("", f"k{i - 10}", ["t"]))
    assert store.scard(conjunction_set) <= 60
    invalidate_change(new={"a": "1"})
    assert not list(store.scan_iter(match="cacheops:v:*"))
    assert not store.exists(conjunction_set)


@services.on_one_server
def test_an_invalidation_frees_a_bounded_number_of_results(store, settings):
    """If more results depend on a row, the remaining ones are invalid and expire by their timeout."""
    settings.CACHEOPS_INSIDEOUT = False
    for i in range(300):
        store_value(f"k{i}", ONE)
    invalidate_change(new={"a": "1"})
    assert 200 <= len(list(store.scan_iter(match="cacheops:v:*"))) <= 290
    assert not list(store.scan_iter(match="cacheops:c:*"))
    assert all(load_value(f"k{i}", ONE) is MISS for i in range(300))


def test_insideout_keeps_no_conjunction_sets(store, settings):
    """It is the mode that uses the least memory."""
    settings.CACHEOPS_INSIDEOUT = True
    store_value("one", ONE)
    assert not list(store.scan_iter(match="cacheops:c:*"))


def test_a_lock_has_one_holder_which_alone_can_release_it(store):
    """A second process waits; a late holder does not release the lock of another process."""
    key = keys.value_key("", "one", ["t"])
    token = keys.fresh_token()
    assert acquire_lock(key, token)
    assert token
    # redis-py sends the command again if the reply was lost.
    assert acquire_lock(key, token)
    assert not acquire_lock(key, "another")
    release_lock(key, "another")
    assert not acquire_lock(key, "another")
    release_lock(key, token)
    assert acquire_lock(key, "another")


def test_a_lock_is_never_read_as_a_value(store):
    """It has a key of its own."""
    acquire_lock(keys.value_key("", "one", ["t"]), new_token(keys.value_key("", "one", ["t"])))
    assert load_value("one", ONE) is MISS


def test_waiting_ends_when_the_value_is_stored_or_the_lock_is_released(store):
    """A waiting reader gets the value, or a miss if the holder stored none."""
    key = keys.value_key("", "one", ["t"])
    missed = protocol.read(key, VersionSet("", [ONE]))
    assert wait_for_value(missed, deadline()).payload is MISS
    acquire_lock(key, new_token(key))
    store_value("one", ONE)
    assert wait_for_value(missed, deadline()).payload == b"value"


def test_a_payload_that_does_not_decode_does_not_end_waiting(store):
    """The holder has not computed it; waiting ends at the deadline."""
    key = keys.value_key("", "one", ["t"])
    store_value("one", ONE)
    useless = protocol.read(key, VersionSet("", [ONE]))
    acquire_lock(key, new_token(key))
    before = time.monotonic()
    assert wait_for_value(useless, before + 0.1).payload == b"value"
    assert time.monotonic() >= before + 0.1


@services.on_one_server
def test_an_undelivered_invalidation_is_delivered_before_the_next_read(store, monkeypatch):
    """During the outage the error is raised, and nothing is lost."""
    store_value("one", ONE)

    def away(*args):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(invalidation_script, "run_script", away)
        with pytest.raises(ConnectionError):
            invalidate_change(new={"a": "1"})
        with pytest.raises(ConnectionError):
            load_value("one", ONE)
    assert load_value("one", ONE) is MISS


def test_names_with_special_characters_are_matched(store):
    """Writers and readers escape table and column names in the same way."""
    odd = Dependency('odd "t":|', (("a=b,c|d", "1"),), ("a=b,c|d", "x y"))
    store_value("odd", odd)
    assert load_value("odd", odd) == b"value"
    shape = keys.name_dependency(odd)
    invalidate_change(new={"a%3Db%2Cc%7Cd": "1"}, table=shape.table)
    assert load_value("odd", odd) is MISS


def test_a_long_list_of_read_columns_is_matched_in_full(store):
    """The key has a hash of it; the dependency index has the names."""
    columns = tuple(f"column{i}" for i in range(20))
    coarse = Dependency("t", (), columns)
    store_value("wide", coarse)
    invalidate_change({}, {}, ["column20"])
    assert load_value("wide", coarse) == b"value"
    invalidate_change({}, {}, ["column19"])
    assert load_value("wide", coarse) is MISS


# As in read.lua.
MAX_SHAPES = 500


def test_a_table_has_a_limited_number_of_shapes(store):
    """Further ones depend on any row: they are cached, and each write of the table invalidates them."""
    columns = [f"c{i}" for i in range(MAX_SHAPES + 20)]
    row = dict.fromkeys(columns, "0")

    def is_stored(column):
        key, version_set = f"cacheops:v:{{t}}{column}", VersionSet("", [Dependency("t", ((column, "1"),), None)])
        lookup = protocol.read(key, version_set, 60)
        if lookup.payload is not stored_value.MISS:
            return True
        protocol.create_versions(lookup, 60)
        assert protocol.fill(lookup, b"value", 60)
        return False

    assert not any(map(is_stored, columns))
    assert all(map(is_stored, columns))
    assert store.scard(keys.index_key("", "t")) <= MAX_SHAPES + 1
    invalidator.invalidate({"": WriteSet([Change("t", row, {**row, "c1": "1"}, ["c1"])])})
    stored = [column for column in columns if is_stored(column)]
    assert "c1" not in stored
    assert "c2" in stored
    assert columns[-1] not in stored


@pytest.mark.parametrize("is_awaited", [True, False])
def test_shapes_of_single_rows_count_as_well(store, is_awaited):
    """A fill that finds no room stores nothing; the next read depends on any row, although all versions exist."""
    any_row = Dependency("t", (), ("a", "x"))
    version_set = VersionSet("", [any_row], coarse=[any_row])
    key = keys.value_key("", "joined", ["t"])

    def fill_of_row(column):
        store.delete(key)
        lookup = protocol.read(key, version_set, 60)
        protocol.create_versions(lookup, 60)
        return protocol.fill(lookup, b"value", 60, None, {any_row: {((), column): {"1"}}}, is_awaited)

    index = keys.index_key("", "t")
    assert fill_of_row("a")
    store.sadd(index, *(f"c{number}|a" for number in range(MAX_SHAPES - store.scard(index))))
    # This shape is there already.
    assert fill_of_row("a")
    assert read_when_stored(key, version_set) == b"value"
    fill_of_row("b")
    assert read_when_stored(key, version_set) is MISS
    assert protocol.read(key, version_set).version_set is version_set.coarsened
    assert fill_of_row("b")
    assert read_when_stored(key, version_set) == b"value"
    assert store.scard(index) == MAX_SHAPES + 1
    invalidate_change({"b": "2"}, {"b": "3"}, ["b"])
    assert protocol.read(key, version_set).payload is MISS


def read_when_stored(key, version_set):
    """Return the payload; the reply to a fill that was not awaited is read with the next command."""
    protocol.read(key, version_set)
    return protocol.read(key, version_set).payload


def test_several_shapes_are_added_together_or_not_at_all(store):
    """Where one of them has no room, all are left out."""
    index = keys.index_key("", "t")
    store_value("one", ONE)
    store.sadd(index, *(f"c{number}" for number in range(MAX_SHAPES - 1 - store.scard(index))))
    two = VersionSet("", [Dependency("t", ((column, "1"),), None) for column in ("x", "y")])
    protocol.create_versions(protocol.read(keys.value_key("", "two", ["t"]), two), 60)
    assert store.scard(index) == MAX_SHAPES
    assert store.sismember(index, "|*")


def test_a_new_index_has_room_again(store, monkeypatch):
    """For instance after it was evicted; version sets are tried again after a while."""
    from cacheops_lite.store import shape_limit

    for i in range(MAX_SHAPES + 5):
        protocol.create_versions(
            protocol.read(f"cacheops:v:{{t}}{i}", VersionSet("", [Dependency("t", ((f"c{i}", "1"),), None)])), 60
        )
    last = VersionSet("", [Dependency("t", ((f"c{MAX_SHAPES + 4}", "1"),), None)])
    assert protocol.read("cacheops:v:{t}x", last).version_set is last.coarsened
    store.delete(keys.index_key("", "t"))
    monkeypatch.setattr(shape_limit.time, "monotonic", lambda: time.time() + 1e9)
    lookup = protocol.read("cacheops:v:{t}x", last, 60)
    assert lookup.version_set is last
    assert lookup.versions is not None
