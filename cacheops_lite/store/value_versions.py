"""The versions that one stored value carries, including those of its row-level dependencies, to read them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .keys import TOKEN_LENGTH
from .stored_value import (
    DIGEST_LENGTH,
    SEAL_LENGTH,
    SIZE_LENGTH,
    Lookup,
    digest_of,
    expected_rows,
    row_version_keys,
    split_header,
)

# The tokens in a header are JSON: as long as this for each token and each group, at most.
_ENCODED_TOKEN_LENGTH = TOKEN_LENGTH + len('"",')
_ENCODED_GROUP_LENGTH = len("[],") + len("[]")


class ValueVersions:
    """The keys of the versions of a value that a lookup has found, and whether they are still what it carries.

    `header_length` is how much of the stored value `note_header` needs, in bytes, 0 if nothing.
    """

    __slots__ = ("_groups", "_header", "_lookup", "_row_keys", "header_length", "keys")

    def __init__(self, lookup: Lookup):
        version_set = lookup.version_set
        self._lookup = lookup
        self._groups: list[dict[str, Any]] = json.loads(lookup.names) if lookup.names else []
        self._row_keys = row_version_keys(self._groups)
        self.keys = [*(version_set.version_keys[i] for i in version_set.carried), *self._row_keys]
        tokens = len(self._row_keys) * _ENCODED_TOKEN_LENGTH + (len(self._groups) + 1) * _ENCODED_GROUP_LENGTH
        length = SEAL_LENGTH + 2 * SIZE_LENGTH + len(lookup.names) + tokens
        self.header_length = length if version_set.coarse else 0
        self._header = b""

    @property
    def number_of_rows(self) -> int:
        return len(self._row_keys)

    def epochs(self) -> Iterator[tuple[str, bytes]]:
        """Yield the key of each table version, and the epoch of the server that it is of."""
        version_set = self._lookup.version_set
        for i in range(len(version_set.tables)):
            yield version_set.version_keys[i], self._lookup.carried[i][TOKEN_LENGTH:]

    def note_header(self, header: Any) -> None:
        """Take the beginning of the stored value."""
        self._header = header if type(header) is bytes else b""

    def are_unchanged(self, found: Sequence[Any]) -> bool:
        """Return whether the value carries these versions, which were found at `keys`."""
        carried, rows = found[: len(found) - len(self._row_keys)], found[len(found) - len(self._row_keys) :]
        if any(type(version) is not bytes for version in found):
            return False
        if not self.header_length:
            return list(carried) == list(self._lookup.carried)
        names, tokens, _ = split_header(self._header)
        is_same = self._header[:DIGEST_LENGTH] == digest_of(self._lookup.key, carried) and names == self._lookup.names
        expected = expected_rows(self._groups, tokens, list(carried)) if is_same else None
        return expected is not None and expected == dict(zip(self._row_keys, rows, strict=True))
