"""What was asked for lately is still known, and no more than there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.utils.lru import LruMap


@given(st.lists(st.integers(0, 30)), st.integers(1, 8))
def test_the_last_few_are_known_and_others_are_forgotten(asked, size):
    """At least as many as `size`, at most twice that; and never another one's value."""
    known = LruMap(size)
    for number, key in enumerate(asked):
        if (found := known.get(key)) is None:
            known.put(key, found := str(key))
        assert found == str(key)
        last = list(dict.fromkeys(reversed(asked[: number + 1])))[:size]
        assert all(key in known._younger or key in known._older for key in last)
        assert len(known._younger.keys() | known._older.keys()) <= 2 * size


def test_all_can_be_forgotten():
    """As when settings change."""
    known = LruMap(2)
    known.put("a", 1)
    known.clear()
    assert known.get("a") is None
