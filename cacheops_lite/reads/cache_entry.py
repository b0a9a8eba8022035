"""What the cache keeps of one result, and how."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ..schema import RowsByDependency
from ..store import NearOptions, VersionSet, dumps_rows, loads_rows


@dataclass(slots=True)
class CacheEntry:
    """A result that may be cached: its key, the versions it depends on, its timeout in seconds and its serializer."""

    key: str
    version_set: VersionSet
    databases: tuple[str, ...]
    timeout: int
    lock: bool = False
    sender: Any = None
    func: Callable[..., Any] | None = None
    dumps: Callable[[Any], bytes] = dumps_rows
    loads: Callable[[bytes], Any] = loads_rows
    # Finds, from the result, the rows that replace the version set's coarse dependencies.
    resolve_rows: Callable[..., RowsByDependency] | None = None
    # The query without its values; None for functions.
    fingerprint: Hashable = None
    # As a profile's ops name it; ``raw`` and ``call`` besides.
    operation: str = "call"
    # Returns what the stored value says of the read that it is the result of, see `origin`.
    origin: Callable[[], bytes] | None = None
    # Returns whether two results of this read mean the same, see `comparison`; None if they can't be compared.
    is_same: Callable[[Any, Any], bool] | None = None
    # How the result is kept in the near cache, None if it is not.
    near: NearOptions | None = None

    @property
    def label(self) -> str:
        """Return the name of the result in messages."""
        return getattr(self.func, "__qualname__", None) or repr(self.sender)


@dataclass(frozen=True, slots=True)
class KeyedValue:
    """A value to store under another key than the one that was looked up."""

    key: str
    value: Any
