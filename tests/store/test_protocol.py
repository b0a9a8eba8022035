"""The store's contract, on both modes and both kinds of Redis: a value is valid while all its versions stand."""

import time

import pytest

from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import dependency_index, invalidator, keys, protocol
from cacheops_lite.store.fill_lock import acquire_lock, deadline, release_lock, wait_for_value
from cacheops_lite.store.protocol import MISS, VersionSet
from cacheops_lite.store.write_set import MAX_CHANGES_PER_TABLE, Change, InsertedRows, WriteSet
from cacheops_lite.utils.lru import LruMap

ANY = Dependency("t", (), None)
ONE = Dependency("t", (("a", "1"),), None)
TWO = Dependency("t", (("a", "2"),), None)
NARROW = Dependency("t", (("a", "1"),), ("a", "x"))
OTHER = Dependency("u", (), None)


def keep(name, *dependencies, payload=b"value", timeout=60):
    """Read, miss and fill, as a reader does."""
    lookup = protocol.read(keys.value_key("", name), VersionSet("", dependencies))
    protocol.create_versions(lookup, timeout)
    assert protocol.fill(lookup, payload, timeout)


def kept(name, *dependencies):
    return protocol.read(keys.value_key("", name), VersionSet("", dependencies)).payload


def changed(old=None, new=None, changed=None, table="t", **kwargs):
    invalidator.invalidate({"": WriteSet(changes=[Change(table, old, new, changed, **kwargs)])})


def test_a_value_is_found_with_all_it_rests_on(store):
    """What was filled is read back, as often as asked for."""
    keep("k", ONE, OTHER)
    assert kept("k", ONE, OTHER) == kept("k", OTHER, ONE) == b"value"


@pytest.mark.parametrize("image", ["old", "new"])
def test_a_change_drops_what_its_images_meet_and_nothing_else(store, image):
    """Before or after the change; values with other conditions, and of other tables, stay."""
    keep("one", ONE)
    keep("two", TWO)
    keep("any", ANY)
    keep("other", OTHER)
    changed(**{image: {"a": "1"}})
    assert kept("one", ONE) is MISS
    assert kept("any", ANY) is MISS
    assert kept("two", TWO) == kept("other", OTHER) == b"value"


def test_a_row_that_moves_drops_both_ends(store):
    """Where it was and where it is."""
    for name, dependency in (("one", ONE), ("two", TWO)):
        keep(name, dependency)
    changed({"a": "1"}, {"a": "2"}, ["a"])
    assert kept("one", ONE) is kept("two", TWO) is MISS


def test_a_change_of_columns_that_are_not_read_drops_nothing(store):
    """Neither condition nor result looks at them."""
    keep("narrow", NARROW)
    keep("one", ONE)
    changed({"a": "1"}, {"a": "1"}, ["y"])
    assert kept("narrow", NARROW) == b"value"
    assert kept("one", ONE) is MISS


def test_a_change_of_a_column_that_is_read_drops(store):
    """Also when the condition's columns are the same."""
    keep("narrow", NARROW)
    changed({"a": "1"}, {"a": "1"}, ["x"])
    assert kept("narrow", NARROW) is MISS


def test_a_change_of_nothing_drops_nothing(store):
    """Saving what was there before."""
    keep("one", ONE)
    changed({"a": "1"}, {"a": "1"}, [])
    assert kept("one", ONE) == b"value"


def test_a_row_that_comes_or_goes_drops_whatever_columns_are_read(store):
    """A count reads no column."""
    counting = Dependency("t", (), ())
    keep("count", counting)
    changed(new={"a": "5"})
    assert kept("count", counting) is MISS


def test_an_image_that_lacks_a_column_drops_the_table(store):
    """Not knowing means dropping: coarse, never wrong."""
    keep("one", ONE)
    keep("two", TWO)
    keep("other", OTHER)
    changed(old={"b": "1"})
    assert kept("one", ONE) is kept("two", TWO) is MISS
    assert kept("other", OTHER) == b"value"


def test_a_scheme_that_nobody_here_knew_of_is_matched_all_the_same(store, monkeypatch):
    """The script says that there are others by now, and is told once more; from then on it is told at once."""
    calls, run = [], invalidator.run_script
    monkeypatch.setattr(invalidator, "run_script", lambda *args: calls.append(args) or run(*args))
    dependency_index._known.clear()
    image = {"a": "1", "b": "2", "c": "3"}
    for turns, dependency, other in [
        (2, ONE, TWO),
        (1, ONE, TWO),
        (2, Dependency("t", (("b", "2"), ("c", "3")), None), Dependency("t", (("b", "3"), ("c", "3")), None)),
        (1, ONE, TWO),
    ]:
        keep("falls", dependency, OTHER)
        keep("stays", other, OTHER)
        calls.clear()
        changes = [Change("t", image, image, ["x"]), Change("u", None, {}), Change("nobody", None, image)]
        invalidator.invalidate({"": WriteSet(changes=changes[:1])})
        assert kept("falls", dependency, OTHER) is MISS
        assert kept("stays", other, OTHER) == b"value"
        assert len(calls) == turns
    keep("one", ONE)
    keep("other", OTHER)
    keep("two", TWO)
    dependency_index._known.clear()
    invalidator.invalidate({"": WriteSet(changes=changes, tables={"gone"})})
    assert kept("one", ONE) is kept("other", OTHER) is MISS
    assert kept("two", TWO) == b"value"


@pytest.mark.parametrize(
    "member", [b"", b"\xff\xfe", b"a", b"a,b", b"|", b"a|", b"a||", b"a|b|c|d", b"x" * 1000, b"1,2|*"]
)
def test_members_of_a_registry_that_are_foreign_do_no_harm(store, member):
    """They may stand for anything: what could match falls, other tables stay, and no error comes of them."""
    keep("one", ONE)
    keep("other", OTHER)
    store.sadd(keys.index_key("", "t"), member)
    changed(new={"a": "1"})
    assert kept("one", ONE) is MISS
    assert kept("other", OTHER) == b"value"


def test_schemes_that_another_process_brought_since_there_were_none_are_matched(store, monkeypatch):
    """As when a mass write asked for them before anything was cached."""
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    assert wanted().shapes["t"] == set()
    keep("one", ONE)
    keep("two", TWO)
    changed(new={"a": "1"})
    assert kept("one", ONE) is MISS
    assert kept("two", TWO) == b"value"


def test_a_registry_that_was_made_anew_is_not_taken_for_the_one_before(store, monkeypatch):
    """Though another process put as many shapes into it."""
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    keep("one", ONE)
    changed(new={"a": "5", "b": "5"})
    before = dependency_index.known("", "t")
    store.delete(keys.index_key("", "t"))
    other = Dependency("t", (("b", "1"),), None)
    keep("other", other)
    changed(new={"a": "1", "b": "1"})
    assert kept("other", other) is MISS
    assert dependency_index.known("", "t").size == before.size
    assert dependency_index.known("", "t").incarnation != before.incarnation


def test_a_missing_registry_drops_the_table(store):
    """Without it changes can't be matched: it was evicted or flushed."""
    keep("one", ONE)
    store.delete(keys.index_key("", "t"))
    changed(new={"a": "2"})
    assert kept("one", ONE) is MISS


def test_a_registry_made_anew_starts_a_new_generation(store):
    """Changes that came while it was missing might have met values that are still there."""
    keep("one", ONE)
    store.delete(keys.index_key("", "t"))
    keep("two", TWO)
    assert kept("one", ONE) is MISS
    assert kept("two", TWO) == b"value"


def test_a_stamp_of_an_old_generation_counts_as_absent(store):
    """Its shape may be missing from the dependency index that was made since."""
    keep("one", ONE)
    store.delete(keys.index_key("", "t"))
    keep("b", Dependency("t", (("b", "1"),), None))
    keep("one", ONE)
    changed(new={"a": "1", "b": "2"})
    assert kept("one", ONE) is MISS


def test_a_read_of_what_nobody_knows_takes_the_stamps_along(store, monkeypatch):
    """A first miss is two round trips: what is absent is made by the read itself."""
    monkeypatch.setattr(protocol, "_probably_cached", LruMap(1))
    lookup = protocol.read(keys.value_key("", "new"), VersionSet("", [ONE, OTHER]), 60)
    assert lookup.payload is MISS
    versions = list(lookup.versions)
    protocol.create_versions(lookup, 60)
    assert lookup.versions == versions
    assert protocol.fill(lookup, b"value", 60)
    assert kept("new", ONE, OTHER) == b"value"


def test_a_read_of_what_another_process_filled_finds_it(store, monkeypatch):
    """Whether a key is known is a guess, that changes no answer."""
    keep("one", ONE)
    key = keys.value_key("", "one")
    for timeout in (0, 60):
        monkeypatch.setattr(protocol, "_probably_cached", LruMap(1))
        assert protocol.read(key, VersionSet("", [ONE]), timeout).payload == b"value"
    changed(new={"a": "1"})
    monkeypatch.setattr(protocol, "_probably_cached", LruMap(1))
    assert protocol.read(key, VersionSet("", [ONE]), 60).payload is MISS


def test_losing_any_key_costs_a_miss_and_never_an_old_value(store):
    """Whatever Redis evicts, what is read afterwards is what was filled after the change."""
    keep("one", ONE)
    for lost in list(store.scan_iter()):
        keep("one", ONE, payload=b"old")
        store.delete(lost)
        changed({"a": "1"}, {"a": "2"}, ["a"])
        assert kept("one", ONE) is MISS, lost


def test_a_fill_that_a_change_overtook_is_dead_on_arrival(store):
    """Stamps come before the read."""
    lookup = store_read("one", ONE)
    changed(new={"a": "1"})
    assert not fill(lookup)
    assert kept("one", ONE) is MISS


def test_a_fill_that_another_reader_and_a_change_overtook_is_dead(store):
    """Also when somebody registered the same versions again meanwhile."""
    lookup = store_read("one", ONE)
    changed(new={"a": "1"})
    keep("one", ONE, payload=b"new")
    assert not fill(lookup, b"old")
    assert kept("one", ONE) == b"new"


def test_a_fill_that_a_dropped_generation_overtook_is_dead(store):
    """A coarse change counts like a precise one."""
    lookup = store_read("one", ONE)
    invalidator.invalidate({"": WriteSet(tables={"t"})})
    assert not fill(lookup)


def store_read(name, *dependencies):
    lookup = protocol.read(keys.value_key("", name), VersionSet("", dependencies))
    protocol.create_versions(lookup, 60)
    return lookup


def fill(lookup, payload=b"value"):
    return protocol.fill(lookup, payload, 60)


def wanted():
    dependency_index.load({"t": [""]})
    return dependency_index.required_columns({"t": [""]})


def test_the_registry_tells_which_columns_schemes_need(store):
    """So that images read no others; None stands for all of them."""
    assert wanted().conditions["t"] == set()
    keep("narrow", NARROW)
    found = wanted()
    assert (found.conditions["t"], found.reads["t"]) == ({"a"}, {"a", "x"})
    assert [found.is_read("t", column) for column in "axz"] == [True, True, False]
    assert found.shapes["t"] == {"a"}
    keep("one", ONE)
    assert wanted().reads["t"] is None
    assert wanted().is_read("t", "z")


def test_rows_that_came_drop_what_any_of_them_meets(store):
    """Of each shape, also of one without conditions and of one with several columns; and nothing else."""
    pair = Dependency("t", (("a", "1"), ("b", "2")), None)
    crossed = Dependency("t", (("a", "1"), ("b", "3")), None)
    for name, dependency in {"one": ONE, "two": TWO, "any": ANY, "pair": pair, "crossed": crossed}.items():
        keep(name, dependency)
    met = {"": {""}, "a": {"a=1", "a=7"}, "a,b": {"a=1&b=2", "a=7&b=3"}}
    invalidator.invalidate({"": WriteSet(changes=[InsertedRows("t", met)])})
    assert kept("one", ONE) is kept("any", ANY) is kept("pair", pair) is MISS
    assert kept("two", TWO) == kept("crossed", crossed) == b"value"


def test_rows_that_came_and_do_not_tell_of_a_scheme_drop_the_table(store):
    """As when the shape came after the rows were looked at, or their column is made by the database."""
    keep("two", TWO)
    keep("any", ANY)
    invalidator.invalidate({"": WriteSet(changes=[InsertedRows("t", {"": {""}})])})
    assert kept("two", TWO) is kept("any", ANY) is MISS


def is_dropped(changes):
    """Instead of all these changes the script is told to drop the table."""
    return WriteSet(changes=changes).by_table() == {"t": None}


def test_rows_that_came_count_as_many_as_they_differ(store):
    """A thousand that meet two conditions are few changes; with many conditions the table is dropped."""
    few = InsertedRows("t", {"": {""}, "a": {"a=1", "a=2"}})
    many = InsertedRows("t", {"": {""}, "a": {f"a={i}" for i in range(MAX_CHANGES_PER_TABLE)}})
    assert not is_dropped([few])
    assert not is_dropped([many])
    assert is_dropped([few, many])
    keep("one", ONE)
    invalidator.invalidate({"": WriteSet(changes=[few, many])})
    assert kept("one", ONE) is MISS


def test_changes_that_meet_too_many_stamps_drop_the_table(store, monkeypatch):
    """Few rows and many shapes make many names, too."""
    monkeypatch.setattr(dependency_index, "MAX_DEPENDENCIES", 3)
    for count, stays in [(3, True), (4, False)]:
        keep("one", ONE)
        changes = [Change("t", None, {"a": str(10 + i)}) for i in range(count)]
        invalidator.invalidate({"": WriteSet(changes=changes)})
        assert (kept("one", ONE) is not MISS) == stays


def test_too_many_changes_drop_the_table_in_one_small_call(store):
    """More images than is sensible."""
    keep("one", ONE)
    keep("other", OTHER)
    changes = [Change("t", None, {"a": str(i)}) for i in range(MAX_CHANGES_PER_TABLE + 1)]
    assert is_dropped(changes)
    invalidator.invalidate({"": WriteSet(changes=changes)})
    assert kept("one", ONE) is MISS
    assert kept("other", OTHER) == b"value"


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 16, b"x" * 1000, "LOCK"])
def test_a_foreign_value_is_a_miss(store, value):
    """Truncated, or not ours at all."""
    keep("one", ONE)
    store.set(keys.value_key("", "one"), value)
    assert kept("one", ONE) is MISS


WIDE = {"plain": (), "coarse": [ANY]}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("coarse", WIDE)
@pytest.mark.parametrize("value", [b"", b"x" * 15, b"x" * 1000, ["x"]])
def test_whatever_stands_in_the_place_of_a_value_is_a_miss(store, monkeypatch, value, coarse, known):
    """Whichever command reads it; and the next value takes its place."""
    version_set = VersionSet("", [ANY, OTHER], coarse=WIDE[coarse])
    key = keys.value_key("", "one")

    def filled():
        lookup = protocol.read(key, version_set, 60)
        protocol.create_versions(lookup, 60)
        return protocol.fill(lookup, b"value", 60)

    assert filled()
    store.delete(key)
    store.rpush(key, *value) if isinstance(value, list) else store.set(key, value)
    if not known:
        monkeypatch.setattr(protocol, "_probably_cached", LruMap(1))
    assert protocol.read(key, version_set, 60).payload is MISS
    assert filled()
    assert protocol.read(key, version_set, 60).payload == b"value"


def test_clear_removes_our_keys_and_no_others(store):
    """Redis may be shared with others, whatever they call their keys."""
    keep("one", ONE)
    store.set("mine", 1)
    store.set("cacheops", 1)
    store.set("p?cacheops:v:x", 1)
    invalidator.clear("")
    assert sorted(store.scan_iter()) == [b"cacheops", b"mine", b"p?cacheops:v:x"]
    invalidator.clear("p?")
    assert sorted(store.scan_iter()) == [b"cacheops", b"mine"]


def test_prefixes_keep_apart(store):
    """A change under one prefix leaves another's values."""
    lookup = store_in("p*", "one")
    invalidator.invalidate({"": WriteSet(tables={"t"})})
    assert fill(lookup)


def store_in(prefix, name):
    lookup = protocol.read(keys.value_key(prefix, name), VersionSet(prefix, [ONE]))
    protocol.create_versions(lookup, 60)
    return lookup


def test_everything_we_write_expires(store):
    """Memory does not grow without end: no key of ours lives forever."""
    keep("one", ONE, NARROW, OTHER, timeout=30)
    assert acquire_lock("cacheops:v:one", "token")
    for key in store.scan_iter():
        assert 0 < store.ttl(key) <= 300, key


def test_what_a_value_rests_on_lives_as_long_as_it_does(store):
    """A longer timeout prolongs versions that were made for a shorter one."""
    keep("short", ONE, timeout=10)
    keep("long", ONE, timeout=1000)
    for key in VersionSet("", [ONE]).version_keys:
        assert store.ttl(key) >= 1000


def test_nothing_is_stored_for_no_time(store):
    """A timeout of 0 means not to cache."""
    lookup = store_read("one", ONE)
    assert not protocol.fill(lookup, b"value", 0)
    assert kept("one", ONE) is MISS


@pytest.mark.parametrize("insideout", [False, True])
def test_values_stay_valid_when_the_mode_is_switched(store, settings, insideout):
    """Sets are bookkeeping: with or without them a value is the same."""
    keep("one", ONE)
    settings.CACHEOPS_INSIDEOUT = insideout
    assert kept("one", ONE) == b"value"
    changed(new={"a": "1"})
    assert kept("one", ONE) is MISS


def test_sets_of_dependents_are_freed_and_kept_small(store, settings):
    """An invalidation frees the results it drops; writes remove members that died of themselves."""
    settings.CACHEOPS_INSIDEOUT = False
    dependents = keys.conjunction_set_key("", keys.name_dependency(ONE).dependency)
    for i in range(200):
        keep(f"k{i}", ONE)
        if i >= 10:
            store.delete(keys.value_key("", f"k{i - 10}"))
    assert store.scard(dependents) <= 60
    changed(new={"a": "1"})
    assert not list(store.scan_iter(match="cacheops:v:*"))
    assert not store.exists(dependents)


def test_an_invalidation_frees_a_bounded_number_of_results(store, settings):
    """However many rest on a row: what is left of them is invalid, and dies by its timeout."""
    settings.CACHEOPS_INSIDEOUT = False
    for i in range(300):
        keep(f"k{i}", ONE)
    changed(new={"a": "1"})
    assert 200 <= len(list(store.scan_iter(match="cacheops:v:*"))) <= 290
    assert not list(store.scan_iter(match="cacheops:c:*"))
    assert all(kept(f"k{i}", ONE) is MISS for i in range(300))


def test_without_sets_no_set_is_kept(store, settings):
    """CACHEOPS_INSIDEOUT is the mode with the least memory."""
    settings.CACHEOPS_INSIDEOUT = True
    keep("one", ONE)
    assert not list(store.scan_iter(match="cacheops:c:*"))


def test_one_lock_is_held_at_a_time_and_released_by_its_holder_only(store):
    """Who comes second waits; a late holder does not release another's."""
    key = keys.value_key("", "one")
    token = keys.fresh_token()
    assert acquire_lock(key, token)
    assert token
    # As where the reply was lost, and redis-py sends it again.
    assert acquire_lock(key, token)
    assert not acquire_lock(key, "another")
    release_lock(key, "another")
    assert not acquire_lock(key, "another")
    release_lock(key, token)
    assert acquire_lock(key, "another")


def test_a_lock_is_never_read_as_a_value(store):
    """It has a key of its own."""
    acquire_lock(keys.value_key("", "one"), "token")
    assert kept("one", ONE) is MISS


def test_waiting_ends_with_the_value_or_with_the_lock(store):
    """Who waits gets what was computed, or a miss when the holder gave up."""
    key = keys.value_key("", "one")
    missed = protocol.read(key, VersionSet("", [ONE]))
    assert wait_for_value(missed, deadline()).payload is MISS
    acquire_lock(key, "token")
    keep("one", ONE)
    assert wait_for_value(missed, deadline()).payload == b"value"


def test_waiting_goes_on_while_a_payload_that_was_no_use_stays(store):
    """One that does not decode is not what the holder computes; and at the deadline waiting ends."""
    key = keys.value_key("", "one")
    keep("one", ONE)
    useless = protocol.read(key, VersionSet("", [ONE]))
    acquire_lock(key, "token")
    before = time.monotonic()
    assert wait_for_value(useless, before + 0.1).payload == b"value"
    assert time.monotonic() >= before + 0.1


def test_work_that_can_not_be_delivered_is_delivered_before_the_next_read(store, monkeypatch):
    """When Redis is away the error surfaces, and nothing is lost."""
    keep("one", ONE)

    def away(*args):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(invalidator, "run_script", away)
        with pytest.raises(ConnectionError):
            changed(new={"a": "1"})
        with pytest.raises(ConnectionError):
            kept("one", ONE)
    assert kept("one", ONE) is MISS


def test_names_with_odd_characters_work_all_the_way(store):
    """Tables and columns are escaped the same way on both sides."""
    odd = Dependency('odd "t":|', (("a=b,c|d", "1"),), ("a=b,c|d", "x y"))
    keep("odd", odd)
    assert kept("odd", odd) == b"value"
    shape = keys.name_dependency(odd)
    changed(new={"a%3Db%2Cc%7Cd": "1"}, table=shape.table)
    assert kept("odd", odd) is MISS


def test_a_long_list_of_read_columns_is_matched_in_full(store):
    """Its id is a hash, the dependency index holds the names."""
    columns = tuple(f"column{i}" for i in range(20))
    coarse = Dependency("t", (), columns)
    keep("wide", coarse)
    changed({}, {}, ["column20"])
    assert kept("wide", coarse) == b"value"
    changed({}, {}, ["column19"])
    assert kept("wide", coarse) is MISS
