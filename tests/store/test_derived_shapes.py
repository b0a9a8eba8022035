"""Dependencies with derived conditions: how writers find those that a change meets, and how many there may be."""

import random
import time

import pytest

from cacheops_lite.schema import derived_conditions
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import dependency_shapes, invalidator, keys, protocol, stored_value
from cacheops_lite.store.dependency_index import DependencyIndex, RequiredColumns
from cacheops_lite.store.version_set import VersionSet
from cacheops_lite.store.write_set import Change, InsertedRows, WriteSet

TOKENS = {
    "price": ["!", "0", "1", "9.5", "10", "11", "-3", "1E+3", "odd"],
    "name": ["!", "", "a", "ab", "Ab", "b%20a", "%C3%A9", "~ab", "~!", "#hash"],
    "day": ["!", "2026-01-01", "2026-01-02", "2025-12-31", "x"],
    "kind": ["!", "1", "2"],
}
CONDITIONS = {
    "price": ["<10", "<=10", ">10", ">=10", "?<1", "<-3", ">=0", "!=10", "?!=10;1", "!=!"],
    "name": ["^a", "^~a", "*b", "*~ab", "$a", "$~b", "@ab", "!=a", "?!=a", '<"b', '>="ab'],
    "day": ["<'2026-01-02", ">='2026-01", "?>='2026-01-01"],
    "kind": ["!=1", "?!=1;2"],
}
READS = [None, ("price",), ("day", "kind", "name", "price")]


def a_dependency(rng):
    """Return one with up to three conditions, of which at least one is derived."""
    conditions = []
    for column in rng.sample(sorted(TOKENS), rng.choice([1, 1, 2, 3])):
        kinds = TOKENS if conditions and rng.random() < 0.5 else CONDITIONS
        number = 1 if kinds is TOKENS else rng.choice([1, 1, 2])
        conditions += [(column, token) for token in rng.sample(kinds[column], number)]
    return Dependency("t", tuple(sorted(conditions)), rng.choice(READS))


def an_image(rng):
    image = {column: rng.choice(tokens) for column, tokens in TOKENS.items()}
    if rng.random() < 0.1:
        del image[rng.choice(sorted(image))]
    return image


def one_by_one(change, shapes):
    found = [change.dependencies(shape) for shape in shapes]
    return None if None in found else {name for names in found for name in names}


def test_an_index_finds_what_each_of_its_shapes_finds():
    """Its groups of conditions change only how long that takes."""
    rng = random.Random(3)
    met = unknown = 0
    for _ in range(300):
        shapes = {keys.name_dependency(a_dependency(rng)).shape for _ in range(rng.choice([1, 3, 30]))}
        index = DependencyIndex([b"@x", *map(str.encode, shapes)])
        for _ in range(10):
            changed = rng.choice([None, ["price"], ["day", "name"], ["other"]])
            old, new = an_image(rng), an_image(rng)
            if changed is None:
                change = Change("t", *rng.choice([(old, None), (None, new)]))
            else:
                new = {**old, **{column: token for column, token in new.items() if column in changed}}
                change = Change("t", old, new, changed)
            expected = one_by_one(change, index.shapes)
            found = index.dependencies_of([change])
            # Where an image lacks a column, a condition on another one that it does not meet is not looked at.
            lacks = any(image is not None and len(image) < len(TOKENS) for image in (change.old, change.new))
            assert found == expected or (found is None and lacks)
            met += bool(found)
            unknown += found is None
    assert met > 500
    assert unknown < 600


def test_inserted_rows_meet_the_same_dependencies_as_single_ones(store):
    """Conditions of a bulk insert are made by shape."""
    from cacheops_lite.writes.instance_writes import _conditions_met
    from cacheops_lite.writes.row_images import tables_of
    from tests.rich.models import Sample

    instances = [Sample(whole=whole, short=text) for whole in (None, 1, 10, 12) for text in ("a", "b", "ab")]
    shapes = ["whole<10", "short,whole<10", "short^a,whole>=10", "whole?!=1", "whole"]
    table = tables_of(Sample)[0]
    met = _conditions_met(table, shapes, instances, "sqlite")
    assert met["whole<10"] == {"whole<10"}
    assert met["short,whole<10"] == {f"short={text}&whole<10" for text in ("a", "b", "ab")}
    assert met["short^a,whole>=10"] == {"short^a&whole>=10"}
    assert met["whole?!=1"] == {"whole?!=1"}
    inserted = InsertedRows(table.name, _conditions_met(table, ["whole>12"], instances, "sqlite"))
    assert inserted.weight == 1
    assert inserted.dependencies(dependency_shapes.parse(b"whole>12|*")) == []


def test_images_need_the_column_of_a_derived_condition():
    required = RequiredColumns()
    required.add("t", DependencyIndex([b"@x", b"a,price<10,price>=1|a,price"]))
    assert required.conditions == {"t": {"a", "price"}}


@pytest.mark.parametrize("name", ["price%3C10", "a", "a.b-c~d", "price<", "<10", "price=5", "price=~a%3C"])
def test_names_of_columns_and_values_are_no_derived_conditions(name):
    assert derived_conditions.split_name(name) is None


def test_a_condition_that_this_release_does_not_know_counts_as_a_column_that_no_image_has():
    """So the table version is dropped."""
    shape = dependency_shapes.parse(b"price<%>10|*")
    assert shape.dependency_of({"price": "1"}) is None


def register(*conditions):
    version_set = VersionSet("", [Dependency("t", conditions, None)])
    lookup = protocol.read(keys.value_key("", "-".join(map(str, conditions)), ["t"]), version_set, 60)
    protocol.create_versions(lookup, 60)
    return lookup


MAX_DERIVED_SHAPES = 250


def members(store):
    found = {each.decode() if isinstance(each, bytes) else each for each in store.smembers(keys.index_key("", "t"))}
    return {each for each in found if not each.startswith("@")}


def test_derived_conditions_leave_room_in_an_index_for_others(store):
    """Constants that move make ever new ones; further ones depend on any row."""
    for number in range(MAX_DERIVED_SHAPES + 20):
        register(("price", f"<{number}"))
    assert len([each for each in members(store) if "<" in each]) == MAX_DERIVED_SHAPES
    assert "|*" in members(store)
    register(("a", "1"))
    register(("b<c", "1"))
    assert {"a|*", "b%3Cc|*"} < members(store)
    # Those that are there already need no room.
    assert register(("price", "<5")).version_set.dependencies == ["t:price<5|*"]


def test_a_full_index_begins_anew_once_it_is_an_hour_old(store, monkeypatch):
    """Its table version changes, as that of any new index."""
    from cacheops_lite.store import shape_limit

    for number in range(MAX_DERIVED_SHAPES):
        register(("price", f"<{number}"))
    index, before = keys.index_key("", "t"), store.get(keys.table_version_key("", "t"))
    register(("price", "<-1"))
    assert store.get(keys.table_version_key("", "t")) == before
    (since,) = [each for each in store.smembers(index) if each.startswith(b"@@@")]
    assert abs(int(since[3:]) - time.time()) < 600
    store.srem(index, since)
    store.sadd(index, b"@@@%d" % (int(since[3:]) - 3601))
    monkeypatch.setattr(shape_limit, "is_met", False)
    register(("price", "<-2"))
    assert members(store) == {"price<-2|*"}
    assert store.get(keys.table_version_key("", "t")) != before


def test_a_write_invalidates_what_its_images_meet(store):
    """Before or after the write."""

    def is_stored(number):
        version_set = VersionSet("", [Dependency("t", (("price", f"<{number}"),), None)])
        lookup = protocol.read(f"cacheops:v:{{t}}{number}", version_set, 60)
        if lookup.payload is not stored_value.MISS:
            return True
        protocol.create_versions(lookup, 60)
        assert protocol.fill(lookup, b"value", 60)
        return False

    def write(old, new):
        invalidator.invalidate({"": WriteSet([Change("t", old, new, ["price"] if old and new else None)])})
        return [number for number in (10, 20, 30) if is_stored(number)]

    assert write({"price": "50"}, {"price": "60"}) == []
    assert write({"price": "50"}, {"price": "60"}) == [10, 20, 30]
    assert write({"price": "15"}, {"price": "60"}) == [10]
    assert write({"price": "50"}, {"price": "25"}) == [10, 20]
    assert write({"price": "30"}, {"price": "!"}) == [10, 20, 30]
    assert write(None, {"price": "5"}) == []
    assert write({"price": "20"}, None) == [10, 20]
