"""Walk through the values that are stored in Redis, and say what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from typing import Any

from ..reads import CacheEntry, Origin, entry_of_origin, parse_origin
from ..store import (
    all_prefixes,
    call,
    describe_dependency,
    escape_glob,
    execute,
    execute_many,
    keys,
    near,
    protocol,
    raise_error,
    scan,
    server_clients,
    stored_value,
)

SCAN_COUNT = 500
# How much of a value is read to learn its origin, which mostly is among the first bytes.
HEAD_BYTES = 6000


@dataclass(slots=True)
class StoredValue:
    """A value in Redis.

    `label` is that of a model, or the name of a decorated function; empty if it is not known.  `text` is the SQL, or
    the call of the function.  `size` is in bytes, as Redis counts its memory.  `seconds_left` is the time to live.
    """

    key: str
    label: str = ""
    operation: str = ""
    using: str = ""
    text: str = ""
    size: int = 0
    seconds_left: int = 0
    dependencies: list[str] = field(default_factory=list)
    is_valid: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the value as values that JSON knows."""
        return {name: getattr(self, name) for name in StoredValue.__slots__}


def value_keys(progress: Callable[[int], None] = lambda scanned: None, max_scanned: int | None = None) -> Iterator[str]:
    """Yield the keys of all stored values, without blocking Redis.  `progress` gets the number of keys scanned so far.

    Stops after about `max_scanned` keys of any kind.  Raises errors of Redis.
    """
    return (key for key, _ in _scan("v:", progress, max_scanned))


def _scan(
    kind: str, progress: Callable[[int], None] = lambda scanned: None, max_scanned: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the keys of a kind, each with what follows the kind."""
    seen = 0
    for prefix in all_prefixes():
        head = prefix + keys.NAMESPACE + kind
        parts = scan(f"{escape_glob(head)}*", SCAN_COUNT)
        while max_scanned is None or seen < max_scanned:
            found = call(lambda: next(parts, None))  # noqa: B023
            if found is None:
                break
            seen += SCAN_COUNT
            progress(seen)
            yield from ((key.decode(), key.decode().removeprefix(head)) for key in found)


def _replies(commands: list[tuple[Any, ...]]) -> list[Any]:
    """Return the replies to commands, in as few round trips as possible.  Raises errors of Redis."""
    requests: list[Any] = [(command, None) for command in commands]
    return call(lambda: list(map(raise_error, execute_many(requests))))


def number_of_keys() -> int:
    """Return how many keys the database of Redis has, of all programs.  Raises errors of Redis."""
    return sum(int(call(client.dbsize)) for client in call(server_clients).values())


def load(key: str) -> StoredValue | None:
    """Return what is stored under a key, None if nothing is.  Raises errors of Redis.

    Reads neither the database nor the whole value.
    """
    commands: list[tuple[Any, ...]] = [("GETRANGE", key, 0, HEAD_BYTES), ("STRLEN", key), ("TTL", key)]
    head, length, seconds = _replies(commands)
    if not length:
        return None
    value = StoredValue(key, size=int(length), seconds_left=max(int(seconds), 0))
    origin = parse_origin(stored_value.stored_origin(key, head), _prefix_of_key(key))
    if origin is None and length > HEAD_BYTES:
        # Many row-level dependencies come before the origin.
        origin = _origin_of(key)
    if origin is not None:
        value.label, value.operation, value.using = origin.label, origin.operation, origin.using
        value.text = origin.text or origin.statement()
    return value


def largest_values(limit: int, max_compared: int | None = None, max_scanned: int | None = None) -> list[StoredValue]:
    """Return the largest stored values.

    Compares no more than `max_compared` of them, among the first `max_scanned` keys that Redis returns.  Raises errors
    of Redis.
    """
    keys_twice = ((key, key) for key in islice(value_keys(max_scanned=max_scanned), max_compared))
    values = (load(key) for key, _ in _largest(keys_twice, "STRLEN", limit))
    return [value for value in values if value is not None]


def load_with_dependencies(key: str) -> StoredValue | None:
    """Return what is stored under a key, with its dependencies and whether it is valid; None if nothing is stored.

    Raises errors of Redis.
    """
    value = load(key)
    if value is None:
        return None
    found = origin_and_entry(key)
    if found is not None:
        _, entry, value.dependencies = found
        lookup = protocol.peek(key, entry.version_set)[0]
        value.is_valid = isinstance(lookup.payload, bytes)
    return value


def origin_and_entry(key: str) -> tuple[Origin, CacheEntry, list[str]] | None:
    """Return which read the value of a key is the result of, its cache entry, and its dependencies in words.

    None if nothing is stored, or if the read can't be repeated under this key.  Raises errors of Redis.
    """
    origin = _origin_of(key)
    found = None if origin is None else entry_of_origin(origin)
    if origin is None or found is None or found[0].key != key:
        return None
    return origin, *found


def _origin_of(key: str) -> Origin | None:
    return parse_origin(stored_value.stored_origin(key, call(lambda: execute("GET", key)) or b""), _prefix_of_key(key))


def remove(key: str) -> bool:
    """Remove the value of a key from Redis, and all copies of rows that this process has.

    Returns whether Redis had the value.  Raises ValueError for a key that is not one of a value of this package, and
    errors of Redis.
    """
    if not any(key.startswith(keys.value_key(prefix, "")) for prefix in all_prefixes()):
        raise ValueError(f"{key!r} is not the key of a cached value: only keys of cached values can be removed")
    removed = bool(call(lambda: execute("DEL", key)))
    near.forget_lease()
    return removed


def _prefix_of_key(key: str) -> str:
    """Return what comes before the namespace in the key of a value."""
    return key.rpartition(f"{keys.NAMESPACE}v:")[0]


def hottest_dependencies(
    limit: int,
    describe: Callable[[str], str] = describe_dependency,
    max_compared: int | None = None,
    max_scanned: int | None = None,
) -> list[tuple[str, int]]:
    """Return the dependencies that most stored values share, as `describe` calls them, with the number of values.

    Compares no more than `max_compared` of them, among the first `max_scanned` keys that Redis returns.  Known only
    where conjunction sets are kept, that is without ``CACHEOPS_INSIDEOUT``.  Raises errors of Redis.
    """
    names = islice(_scan("c:", max_scanned=max_scanned), max_compared)
    return [(describe(keys.dependency_in_key(name)), number) for name, number in _largest(names, "SCARD", limit)]


def _largest(names: Iterator[tuple[str, str]], command: str, limit: int) -> list[tuple[str, int]]:
    """Return, of pairs of a key and a name, the names whose keys have the largest replies to a command."""
    found: list[tuple[str, int]] = []
    while batch := list(islice(names, SCAN_COUNT)):
        numbers = _replies([(command, key) for key, _ in batch])
        found += zip((name for _, name in batch), numbers, strict=True)
    return nlargest(limit, found, key=lambda each: each[1])
