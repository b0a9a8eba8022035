"""Names of keys in Redis::

    {prefix}@col:v:{hash}           a cached value
    {prefix}@col:g:{table}          the table's generation
    {prefix}@col:r:{table}          the registry of its schemes, a set of "columns|id[|columns read]", and of
                                    "@token", which tells it from one before
    {prefix}@col:s:{table}:{dep}    a stamp, dep being "column=token&...|id"
    {prefix}@col:d:{table}:{dep}    the result keys that rest on it (not with CACHEOPS_INSIDEOUT)
    {prefix}@col:h:{table}          the writers that are about to commit, a sorted set of tokens by when they count as
                                    dead: meanwhile nobody makes the table's stamps
    {prefix}@col:l:{hash}           a lock
    {prefix}@col:c:{name}           a value of the simple cache, see `simple`

The id of a scheme tells apart dependencies on the same rows that read different columns.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..schema import Dependency, name

# To be raised when the layout of keys, stamps or payloads changes: old values then become unreachable.
FORMAT_VERSION = 5
NAMESPACE = "@col:"
LONGEST_ID = 40
TOKEN_LENGTH = 8


class Scheme(NamedTuple):
    """A dependency without its values, and the part of the stamp's key that tells which one it is."""

    table: str
    member: str
    stamp: str


def scheme(dependency: Dependency) -> Scheme:
    """The scheme that covers `dependency` and the name of its stamp."""
    terms = dependency.terms
    columns, table, member, read_id = _names(dependency.table, tuple([each[0] for each in terms]), dependency.columns)
    values = "&".join([f"{column}={token}" for column, (_, token) in zip(columns, terms, strict=True)])
    return Scheme(table, member, f"{table}:{values}|{read_id}")


@lru_cache(maxsize=4096)
def _names(
    table: str, columns: tuple[str, ...], read_columns: tuple[str, ...] | None
) -> tuple[tuple[str, ...], str, str, str]:
    """What stands in keys for columns, a table, a scheme and the columns that it reads; whatever the values."""
    names = tuple(map(name, columns))
    if read_columns is None:
        read, read_id = "", "*"
    else:
        read = read_id = ",".join(map(name, read_columns))
        if len(read) > LONGEST_ID:
            read_id = "#" + hashlib.blake2b(read.encode(), digest_size=8).hexdigest()
    all_names = ",".join(names)
    member = f"{all_names}|{read_id}" if read_id in ("*", read) else f"{all_names}|{read_id}|{read}"
    return names, name(table), member, read_id


class Family(NamedTuple):
    """Dependencies on one column of a table that differ in its value: their stamps are ``head + token + tail``."""

    member: str
    head: str
    tail: str


def family(table: str, column: str, read: tuple[str, ...] | None) -> Family:
    """That of ``Dependency(table, ((column, token),), read)``."""
    _, member, stamp = scheme(Dependency(table, ((column, ""),), read))
    head, separator, tail = stamp.partition("=")
    return Family(member, head + separator, tail)


class Digest:
    """The beginning of many digests, which have their first parts in common."""

    def __init__(self, *parts: str):
        self._begun = hashlib.blake2b(digest_size=16)
        _add(self._begun, parts)

    def of(self, *parts: str) -> str:
        """A short text that differs when any of all parts or their order does."""
        md = self._begun.copy()
        _add(md, parts)
        return base64.urlsafe_b64encode(md.digest())[:-2].decode()


def digest(*parts: str) -> str:
    """A short text that differs when any of `parts` or their order does."""
    return _NOTHING.of(*parts)


def _add(md: hashlib.blake2b, parts: Iterable[str]) -> None:
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        md.update(b"%d:" % len(encoded))
        md.update(encoded)


_NOTHING = Digest()


def fresh_token() -> str:
    """A random token of TOKEN_LENGTH characters, for generations, stamps and locks."""
    return base64.urlsafe_b64encode(os.urandom(TOKEN_LENGTH * 3 // 4)).decode()


def escape_glob(text: str) -> str:
    """A pattern of Redis that matches `text` alone."""
    return "".join("\\" + char if char in "*?[]^\\-" else char for char in text)


def value_key(prefix: str, name: str) -> str:
    return f"{prefix}{NAMESPACE}v:{name}"


def generation_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}g:{table}"


def registry_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}r:{table}"


def hold_key(prefix: str, table: str) -> str:
    return f"{prefix}{NAMESPACE}h:{table}"


def stamp_key(prefix: str, stamp: str) -> str:
    return f"{prefix}{NAMESPACE}s:{stamp}"


def dependents_key(prefix: str, stamp: str) -> str:
    return f"{prefix}{NAMESPACE}d:{stamp}"


def simple_key(prefix: str, name: str) -> str:
    return f"{prefix}{NAMESPACE}c:{name}"


def lock_key(value_key: str) -> str:
    head, _, tail = value_key.rpartition(f"{NAMESPACE}v:")
    return f"{head}{NAMESPACE}l:{tail}"
