"""The stored format, letter by letter. A change of it needs a new `keys.FORMAT_VERSION` and new expectations here."""

import pickle

import pytest

from cacheops_lite.schema import tokens
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import dependency_shapes, keys, stored_value
from cacheops_lite.store.signatures import SIGNATURE_LENGTH
from cacheops_lite.store.stored_value import DIGEST_LENGTH

LONG = tuple(f"column{i}" for i in range(10))


def test_the_names_of_keys_are_pinned():
    """Old and new processes that share a Redis agree on them, or the change raises FORMAT_VERSION."""
    assert keys.FORMAT_VERSION == 11
    assert keys.value_key("p:", "x") == "p:cacheops:v:x"
    assert keys.value_key("p:", "x", ["t", "u"]) == "p:cacheops:v:{t}x"
    assert keys.table_version_key("", "t") == "cacheops:t:{t}"
    assert keys.index_key("", "t") == "cacheops:i:{t}"
    assert keys.fence_key("", "t") == "cacheops:f:{t}"
    assert keys.registration_key("", "t") == "cacheops:r:{t}"
    assert keys.version_key("", "t:a=1|*") == "cacheops:d:{t}:a=1|*"
    assert keys.conjunction_set_key("", "t:a=1|*") == "cacheops:c:{t}:a=1|*"
    assert keys.counters_key("p:", 5) == "p:cacheops:n:5"
    assert keys.query_key("p:", "x") == "p:cacheops:q:x"
    assert keys.lock_key("p:cacheops:v:{t}x") == "p:cacheops:l:{t}x"


def test_dependency_shapes_are_pinned():
    """They are the members of the dependency index, as `dependency_shapes` parses them."""
    assert keys.name_dependency(Dependency("t", (), None)) == ("t", "|*", "t:|*")
    assert keys.name_dependency(Dependency("t", (("a", "1"), ("b", "!")), None)) == ("t", "a,b|*", "t:a=1&b=!|*")
    assert keys.name_dependency(Dependency("t", (("a", "1"),), ("a", "x"))) == ("t", "a|a,x", "t:a=1|a,x")
    _, member, dependency = keys.name_dependency(Dependency("t", (), LONG))
    columns, read_id, read = member.split("|")
    assert (columns, read) == ("", ",".join(LONG))
    assert read_id.startswith("#")
    assert dependency == f"t:|{read_id}"


@pytest.mark.parametrize("read", [None, (), ("a",), ("a", "b=c|d"), LONG])
@pytest.mark.parametrize("conditions", [(), (("a", "1"),), (("a", "1"), ("b=c|d", "!&")), (("a,b", "x"), ("@", "y"))])
def test_writers_and_readers_name_the_same_dependency(conditions, read):
    """This applies to rows that meet the conditions; a row image without a column matches no shape with that column."""
    shape = keys.name_dependency(Dependency("odd:|table", conditions, read))
    parsed = dependency_shapes.parse(shape.shape.encode())
    image = {tokens.name_in_keys(column): token for column, token in conditions}
    assert f"{tokens.name_in_keys('odd:|table')}:{parsed.dependency_of(image)}" == shape.dependency
    assert parsed.columns == tuple(image)
    assert parsed.reads == (None if read is None else frozenset(map(tokens.name_in_keys, read)))
    for column in image:
        assert parsed.dependency_of({name: token for name, token in image.items() if name != column}) is None
    assert not shape.shape.startswith(dependency_shapes.INCARNATION_PREFIX)


def test_special_characters_in_table_and_column_names_are_escaped():
    """Names cannot break out of their place in a key."""
    shape = keys.name_dependency(Dependency("odd table:|", (("a=b,c", "1"),), None))
    assert shape == ("odd%20table%3A%7C", "a%3Db%2Cc|*", "odd%20table%3A%7C:a%3Db%2Cc=1|*")


def test_tokens_and_digests_have_fixed_lengths():
    """A version starts with its table version: both are parsed by length."""
    assert len(keys.fresh_token()) == keys.TOKEN_LENGTH
    assert DIGEST_LENGTH == 16
    assert len({keys.fresh_token() for _ in range(1000)}) == 1000


def test_digests_depend_on_the_boundaries_between_parts():
    """The digest of ('a', 'bc') is not that of ('ab', 'c')."""
    assert keys.digest("a", "bc") != keys.digest("ab", "c")
    assert keys.digest("a", "b") == "wE4XlX1MoxI7Ov2qsC5AIw"


def test_the_header_of_a_value_is_pinned():
    """Microseconds and the length of the origin come before the origin and the payload."""
    lookup = stored_value.Lookup("k", None, stored_value.MISS, [], compute_seconds=0.25, origin=b"abc")
    header = stored_value.origin_header("k", lookup)
    assert header[:6] == b"\x00\x03\xd0\x90\x00\x03"
    assert len(header) == 6 + SIGNATURE_LENGTH + 3
    assert stored_value.stored_origin("k", b"s" * 32 + header + b"payload") == b"abc"
    assert stored_value.stored_origin("k", b"s" * 32 + b"0000000200000002[]{}" + header + b"payload") == b"abc"
    assert stored_value.stored_origin("other", b"s" * 32 + header) == b"", "it belongs to its key"
    assert stored_value.stored_origin("k", b"s" * 32) == b""


def test_rows_are_stored_as_a_pickle_of_plain_tuples():
    """The pickle names no class."""
    from cacheops_lite.store.serializers import dumps_rows

    stored = dumps_rows([(1, "a", None)])
    assert pickle.loads(stored) == [(1, "a", None)]
    assert b"Product" not in stored
