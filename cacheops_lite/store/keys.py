"""The names of keys in Redis::

    <prefix>cacheops:v:{table}hash[.id]  a cached value; table is the first of those that it depends on, id tells
                                         databases with the same name apart
    <prefix>cacheops:t:{table}           the table version: a random token and the epoch of the server
    <prefix>cacheops:i:{table}           the table's dependency index: a set of shapes, "columns|id[|columns read]",
                                         of "@token", the incarnation of this set, of "@@epoch", that of the server, and
                                         of "@@@seconds", the time at which it was made
    <prefix>cacheops:d:{table}:dep       a dependency version: the token of the table version and one of its own;
                                         dep is "column=token&...|id"; a derived condition, such as "price<100",
                                         stands there and among the columns of the shape as it is
    <prefix>cacheops:c:{table}:dep       the conjunction set of a dependency: keys of the values that depend on it
                                         (not with CACHEOPS_INSIDEOUT, nor on a cluster)
    <prefix>cacheops:f:{table}           the table's fence: a sorted set of tokens of the writers that are about to
                                         commit, scored by the time at which each token expires; while it has a
                                         member, no version of the table is created
    <prefix>cacheops:r:{table}           the registration of the table's near caches: their longest lease in
                                         milliseconds, 0 for none, and the epoch of the server; or "?" and the token of
                                         a writer that found none, see `near_leases`
    <prefix>cacheops:l:{table}hash       a lock: another process computes the value
    <prefix>cacheops:s:name              a value of the simple cache, see `functions`
    <prefix>cacheops:n:minute            the counters of a minute since 1970, a hash, see `counter_flush`
    <prefix>cacheops:q:name              a pickled query, with which origins of values are compressed, see
                                         `reads.origin`
    <prefix>cacheops:b:name              a note about a database, see `database_notes`; for names that begin with
                                         "clock", the time of the last check of the server, see `rollback`

The braces are part of the keys: a hash tag, by which all keys of a table have the same slot of a Redis Cluster
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).

The prefix is that of ``CACHEOPS_PREFIX``, then the name of the database, see `database_names`.
The id of a shape distinguishes dependencies on the same rows that read different columns.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..schema import Conditions, Dependency, is_derived, name_in_keys

# Increase it when the layout of keys, versions or payloads changes: old values become unreachable.
FORMAT_VERSION = 11
NAMESPACE = "cacheops:"
# What follows the namespace in every key of this package, as a pattern for Redis and for `re` ...
KINDS = "bcdfilnqrstv"
KIND_PATTERN = f"[{KINDS}]:"
# ... and in those that `clear` removes, which are all but counters, registrations and notes about databases.
CACHED_KIND_PATTERN = "[cdfilqstv]:"
MAX_ID_LENGTH = 40
TOKEN_LENGTH = 8


class NamedDependency(NamedTuple):
    """How keys name a dependency: its table, its shape, and the last part of its version's key."""

    table: str
    shape: str
    dependency: str


def name_dependency(dependency: Dependency) -> NamedDependency:
    """Return the names that keys have for a dependency."""
    conditions = dependency.conditions
    if any(is_derived(token) for _, token in conditions):
        # Equalities come first: writers make the names of many dependencies that begin alike.
        conditions = tuple(sorted(conditions, key=lambda condition: is_derived(condition[1])))
    columns, table, shape, read_id = _names(
        dependency.table,
        # A derived condition, such as ``price<100``, is a part of the shape.
        tuple([each if is_derived(each[1]) else each[0] for each in conditions]),
        dependency.columns,
    )
    values = "&".join(
        [name if is_derived(token) else f"{name}={token}" for name, (_, token) in zip(columns, conditions, strict=True)]
    )
    return NamedDependency(table, shape, f"{table}:{values}|{read_id}")


@lru_cache(maxsize=4096)
def _names(
    table: str, columns: tuple[str | tuple[str, str], ...], read_columns: tuple[str, ...] | None
) -> tuple[tuple[str, ...], str, str, str]:
    """Return the names of the columns, the table, the shape and the id of the columns read; values do not matter.

    In place of a column there may be a derived condition on it, with its token.
    """
    names = tuple(name_in_keys(each) if isinstance(each, str) else name_in_keys(each[0]) + each[1] for each in columns)
    if read_columns is None:
        read, read_id = "", "*"
    else:
        read = read_id = ",".join(map(name_in_keys, read_columns))
        if len(read) > MAX_ID_LENGTH:
            read_id = "#" + hashlib.blake2b(read.encode(), digest_size=8).hexdigest()
    all_names = ",".join(names)
    shape = f"{all_names}|{read_id}" if read_id in ("*", read) else f"{all_names}|{read_id}|{read}"
    return names, name_in_keys(table), shape, read_id


class KeyTemplate(NamedTuple):
    """The names of dependencies that differ in the value of one condition only: ``head + token + tail``."""

    shape: str
    head: str
    tail: str


def key_template(dependency: Dependency, conditions: Conditions, column: str) -> KeyTemplate:
    """Return the template of the dependency with further conditions, and with ``(column, token)`` for any token.

    Without a column it is the dependency's own name, and an empty token.
    """
    if not column:
        named = name_dependency(dependency._replace(conditions=conditions))
        return KeyTemplate(named.shape, named.dependency, "")
    # No token has this character.
    placeholder = "\0"
    named = name_dependency(dependency._replace(conditions=tuple(sorted((*conditions, (column, placeholder))))))
    head, _, tail = named.dependency.partition(placeholder)
    return KeyTemplate(named.shape, head, tail)


class Digest:
    """A prepared digest, for many texts that share their first parts."""

    def __init__(self, *parts: str):
        self._prepared = hashlib.blake2b(digest_size=16)
        _add(self._prepared, parts)

    def of(self, *parts: str) -> str:
        """Return a short text that differs if any part, or the order of the parts, differs."""
        md = self._prepared.copy()
        _add(md, parts)
        return base64.urlsafe_b64encode(md.digest())[:-2].decode()


def digest(*parts: str) -> str:
    """Return a short text that differs if any of `parts`, or their order, differs."""
    return _EMPTY.of(*parts)


def _add(md: hashlib.blake2b, parts: Iterable[str]) -> None:
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        md.update(b"%d:" % len(encoded))
        md.update(encoded)


_EMPTY = Digest()


def fresh_token() -> str:
    """Return a random token of TOKEN_LENGTH characters, for versions, fences and locks."""
    return base64.urlsafe_b64encode(os.urandom(TOKEN_LENGTH * 3 // 4)).decode()


def escape_glob(text: str) -> str:
    """Return the pattern for Redis that matches only `text`."""
    return "".join("\\" + char if char in "*?[]^\\-" else char for char in text)


def value_key(prefix: str, name: str, tables: Sequence[str] = ()) -> str:
    """Return the key of a value that depends on `tables`, by their names in keys."""
    tag = f"{{{tables[0]}}}" if tables else ""
    return f"{prefix}{NAMESPACE}v:{tag}{name}"


def table_version_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}t:{{{table}}}"


def index_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}i:{{{table}}}"


def fence_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}f:{{{table}}}"


def registration_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}r:{{{table}}}"


def version_key(prefix: str, dependency: str) -> str:
    return f"{prefix}{NAMESPACE}d:{{{dependency.replace(':', '}:', 1)}"


def conjunction_set_key(prefix: str, dependency: str) -> str:
    return f"{prefix}{NAMESPACE}c:{{{dependency.replace(':', '}:', 1)}"


def dependency_in_key(rest: str) -> str:
    """Return the name of a dependency; `rest` is what follows ``d:`` or ``c:`` in a key."""
    return rest.removeprefix("{").replace("}:", ":", 1)


def counters_key(prefix: str, minute: int) -> str:
    return f"{prefix}{NAMESPACE}n:{minute}"


def query_key(prefix: str, name: str) -> str:
    return f"{prefix}{NAMESPACE}q:{name}"


def database_key(prefix: str, name: str) -> str:
    return f"{prefix}{NAMESPACE}b:{name}"


def simple_key(prefix: str, name: str) -> str:
    return f"{prefix}{NAMESPACE}s:{name}"


def lock_key(value_key: str) -> str:
    head, _, tail = value_key.rpartition(f"{NAMESPACE}v:")
    return f"{head}{NAMESPACE}l:{tail}"
