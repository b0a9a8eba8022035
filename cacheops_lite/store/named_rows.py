"""Read values that name their row-level dependencies themselves, together with the versions that they named last time.

Where other names are found, the versions of these are read afterwards.  A version that equals the one that a value
carries was unchanged since the value was read from the database, whenever in the course of a read it is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..utils import LruMap
from .stored_value import MISS, SEAL_LENGTH, Lookup, checked, expected_rows, row_version_keys, split_header
from .version_set import VersionSet

# By key of a value, the keys of the versions of its row-level dependencies when it was last read or stored.
_last_named: LruMap[str, list[str]] = LruMap(4096)


def last_named(key: str) -> list[str] | None:
    """Return the keys of the versions that the value of `key` named last, None if this is not known."""
    return _last_named.get(key)


def note(key: str, names: bytes) -> None:
    """Remember what a value names of its row-level dependencies."""
    note_keys(key, row_version_keys(json.loads(names)))


def note_keys(key: str, row_keys: list[str]) -> None:
    """Remember the keys of the versions of the row-level dependencies of a value."""
    _last_named.put(key, row_keys)


def read(
    key: str,
    version_set: VersionSet,
    get_all: Callable[[Sequence[str]], list[Any]],
    forget_other_epochs: Callable[[list[bytes | None]], None],
) -> Lookup:
    """Read a value and its versions; create none.

    `get_all` returns the values of keys, and `forget_other_epochs` replaces table versions of other servers by None.
    """
    row_keys = last_named(key) or [] if version_set.coarse else []
    value, *found = get_all([key, *version_set.version_keys, *row_keys])
    row_versions = dict(zip(row_keys, found[len(version_set.version_keys) :], strict=True))
    del found[len(version_set.version_keys) :]
    forget_other_epochs(found)
    lookup = Lookup(key, version_set, MISS, found if version_set.are_current(found) else None)
    if value is None:
        return lookup
    if version_set.coarse:
        return _checked_with_rows(lookup, value, found, row_versions, get_all)
    if lookup.versions is None:
        lookup.is_outdated = True
        return lookup
    return checked(lookup, value[:SEAL_LENGTH], b"", memoryview(value)[SEAL_LENGTH:], found)


def _checked_with_rows(
    lookup: Lookup,
    value: bytes,
    found: list[bytes | None],
    row_versions: dict[str, bytes | None],
    get_all: Callable[[Sequence[str]], list[Any]],
) -> Lookup:
    """Do what `checked` does for a value with a header; `row_versions` are those that were read with it."""
    names, tokens, body = split_header(value)
    carried = [found[i] or b"" for i in lookup.version_set.carried]
    checked(lookup, value[:SEAL_LENGTH], names, body, carried)
    if lookup.payload is MISS:
        return lookup
    # The names are signed, so they are what a fill wrote.
    expected = expected_rows(json.loads(names), tokens, found)
    if expected is not None and expected.keys() != row_versions.keys():
        note_keys(lookup.key, list(expected))
        missing = [key for key in expected if key not in row_versions]
        if missing:
            row_versions.update(zip(missing, get_all(missing), strict=True))
    if expected is None or any(row_versions[key] != version for key, version in expected.items()):
        lookup.payload, lookup.is_outdated = MISS, True
    return lookup
