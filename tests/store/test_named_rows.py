"""Values that name their row-level dependencies are read the same with the names that are remembered."""

import pytest

from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import invalidator, keys, named_rows, protocol
from cacheops_lite.store.stored_value import MISS
from cacheops_lite.store.version_set import VersionSet
from cacheops_lite.store.write_set import Change, WriteSet

ANY_ROW = Dependency("t", (), ("a", "x"))
ANY_OF_U = Dependency("u", (), None)
VERSIONS = VersionSet("", [ANY_ROW, ANY_OF_U], coarse=[ANY_ROW])
KEY = keys.value_key("", "joined", ["t", "u"])


def fill(*tokens, payload=b"value"):
    """Store a value that depends on rows of ``t`` by these values of ``a``, as after a miss."""
    lookup = protocol.read(KEY, VERSIONS, 60)
    protocol.create_versions(lookup, 60)
    assert protocol.fill(lookup, payload, 60, None, {ANY_ROW: {((), "a"): set(tokens)}})


def fill_elsewhere(*tokens, payload):
    """Store a value as another process does, whose names this process does not know."""
    known = named_rows.last_named(KEY)
    fill(*tokens, payload=payload)
    named_rows.note_keys(KEY, known)


def change(old, new):
    invalidator.invalidate({"": WriteSet([Change("t", {"a": old}, {"a": new}, ["a"])])})


def version_of_row(token):
    (name,) = [each for each in named_rows.last_named(KEY) if token in each]
    return name


@pytest.fixture
def sent(monkeypatch):
    """The commands and scripts that reads send."""
    commands = []
    execute, run_script = protocol.execute, protocol.run_script
    monkeypatch.setattr(protocol, "execute", lambda *args, **more: commands.append(args[0]) or execute(*args, **more))
    monkeypatch.setattr(protocol, "run_script", lambda *args: commands.append(args[0]) or run_script(*args))
    return commands


def test_a_value_that_this_process_has_stored_is_read_by_one_command(store, sent):
    fill("1", "2")
    sent.clear()
    assert protocol.read(KEY, VERSIONS, 60).payload == b"value"
    assert sent == ["MGET"]


def test_a_value_that_another_process_has_stored_is_read_by_a_script_once(store, sent, monkeypatch):
    fill("1", "2")
    named_rows._last_named.clear()
    sent.clear()
    assert [protocol.read(KEY, VERSIONS).payload for _ in range(3)] == [b"value"] * 3
    assert sent == ["read", "MGET", "MGET"]


def test_names_that_another_process_has_changed_are_found_by_a_second_command(store, sent):
    fill("1")
    change("1", "9")
    fill_elsewhere("2", "3", payload=b"other")
    sent.clear()
    assert [protocol.read(KEY, VERSIONS).payload for _ in range(2)] == [b"other"] * 2
    assert sent == ["MGET", "MGET", "MGET"]
    change("3", "4")
    assert protocol.read(KEY, VERSIONS).payload is MISS


def cut(store, length):
    store.set(KEY, store.get(KEY)[:length])


def with_tokens_exchanged(store):
    """The tokens in a header are not signed."""
    value = store.get(KEY)
    start = value.index(b'"]]') - 8
    store.set(KEY, value[:start] + b"\xc3\xa9AAAAAA" + value[start + 8 :])


EVENTS = {
    "nothing": lambda store: None,
    "a row changed": lambda store: change("1", "5"),
    "a row moved in": lambda store: change("5", "2"),
    "another row changed": lambda store: change("7", "8"),
    "another table changed": lambda store: invalidator.invalidate(
        {"": WriteSet([Change("u", {"b": "1"}, None, None)])}
    ),
    "the table was invalidated": lambda store: store.delete(keys.table_version_key("", "t")),
    "the version of a row was evicted": lambda store: store.delete(version_of_row("1")),
    "the version of a row was replaced": lambda store: store.set(version_of_row("1"), b"0" * 16),
    "the version of a row has another type": lambda store: (
        store.delete(version_of_row("1")),
        store.sadd(version_of_row("1"), "x"),
    ),
    "the value was evicted": lambda store: store.delete(KEY),
    "the value has another type": lambda store: (store.delete(KEY), store.sadd(KEY, "x")),
    "the value is cut in its seal": lambda store: cut(store, 10),
    "the value is cut in its header": lambda store: cut(store, 60),
    "the value is cut in its payload": lambda store: cut(store, -1),
    "the value is foreign": lambda store: store.set(KEY, b"foreign"),
    "its tokens were exchanged": with_tokens_exchanged,
    "it names other rows": lambda store: (change("1", "5"), fill_elsewhere("3", payload=b"other")),
    "it names other rows, of which one changed": lambda store: (
        change("1", "5"),
        fill_elsewhere("3", payload=b"other"),
        change("3", "1"),
    ),
    "it names fewer rows": lambda store: (change("1", "5"), fill_elsewhere("2", payload=b"other")),
    "it names fewer rows, and a further one changed": lambda store: (
        change("1", "5"),
        fill_elsewhere("2", payload=b"other"),
        change("1", "6"),
    ),
}
VALID = {
    "nothing": b"value",
    "another row changed": b"value",
    "it names other rows": b"other",
    "it names fewer rows": b"other",
    "it names fewer rows, and a further one changed": b"other",
}


def let_happen(event, store):
    """Store a value, then let an event of `EVENTS` happen, of which this process remembers no names."""
    fill("1", "2")
    known = named_rows.last_named(KEY)
    EVENTS[event](store)
    named_rows.note_keys(KEY, known)


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_found_does_not_depend_on_remembered_names(store, event):
    """A script finds the same, and tells of the same missing versions."""
    let_happen(event, store)
    remembered = protocol.read(KEY, VERSIONS)
    named_rows._last_named.clear()
    by_script = protocol.read(KEY, VERSIONS)
    assert remembered.payload == by_script.payload == VALID.get(event, MISS)
    assert remembered.versions == by_script.versions
    if remembered.payload is not MISS:
        assert (remembered.names, list(remembered.carried)) == (by_script.names, list(by_script.carried))


@pytest.mark.parametrize("event", EVENTS)
def test_a_miss_with_remembered_names_is_filled(store, event):
    let_happen(event, store)
    if protocol.read(KEY, VERSIONS).payload is MISS:
        fill("4", payload=b"new")
        assert protocol.read(KEY, VERSIONS).payload == b"new"
        change("4", "5")
        assert protocol.read(KEY, VERSIONS).payload is MISS
