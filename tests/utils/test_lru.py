"""LruMap keeps recently used keys, and its size is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.utils.lru import LruMap


@given(st.lists(st.integers(0, 30)), st.integers(1, 8))
def test_the_most_recently_used_keys_are_kept_and_older_ones_are_evicted(requested, size):
    """It keeps at least `size` and at most twice as many keys, and never returns the value of another key."""
    lru_map = LruMap(size)
    for number, key in enumerate(requested):
        if (found := lru_map.get(key)) is None:
            lru_map.put(key, found := str(key))
        assert found == str(key)
        last = list(dict.fromkeys(reversed(requested[: number + 1])))[:size]
        assert all(key in lru_map._younger or key in lru_map._older for key in last)
        assert len(lru_map._younger.keys() | lru_map._older.keys()) <= 2 * size


def test_clear_removes_all_keys():
    """It is called when settings change."""
    lru_map = LruMap(2)
    lru_map.put("a", 1)
    lru_map.clear()
    assert lru_map.get("a") is None
