"""The store: the protocol that keeps cached values valid.

A cached value carries the stamps that it was built under and is valid while every one of them still stands.  The steps,
in the order that makes it so: `read` (stamps come with the value), `take_stamps` (what of them is absent is made), the
database, `fill`; and on the side of a write, in `outbox`: `invalidate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import cached_property

from ..conf import settings
from ..schema import Dependency, Narrowed
from ..utils import Lately
from . import dependency_index, keys
from .client import execute, note_confusion, run_script
from .invalidator import deliver_overdue, is_overdue

DIGEST_LENGTH = 16


class _Miss:
    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS = _Miss()


class Basis:
    """What a result rests on, as Redis keys: generations of tables and stamps of dependencies.

    `prefix` is that of all keys, or tells the one of each table.  The stamps of `narrowable` dependencies are what
    narrower ones are made under at the fill; a value then carries these instead.
    """

    def __init__(
        self,
        prefix: str | Callable[[str], str],
        dependencies: Iterable[Dependency],
        tables: Iterable[str] = (),
        narrowable: Iterable[Dependency] = (),
    ):
        schemes = [keys.scheme(dependency) for dependency in dependencies]
        if len(schemes) > 1:
            schemes = sorted(set(schemes))
        self.tables = sorted({scheme.table for scheme in schemes} | set(map(keys.name, tables)))
        self.prefixes = [prefix if isinstance(prefix, str) else prefix(table) for table in self.tables]
        self._schemes = schemes
        self.stamps = [scheme.stamp for scheme in schemes]
        self.owners = [self.tables.index(scheme.table) for scheme in schemes]
        self.narrowable = {each: self.stamps.index(keys.scheme(each).stamp) for each in narrowable}
        # The keys whose values are in a value's digest: generations, then stamps.
        self.checked_keys = [
            *map(keys.generation_key, self.prefixes, self.tables),
            *self._of_stamps(keys.stamp_key),
        ]

    @cached_property
    def dependents_keys(self) -> list[str]:
        """The sets of those stamps that a value itself carries."""
        narrowable = set(self.narrowable.values())
        return [key for i, key in enumerate(self._of_stamps(keys.dependents_key)) if i not in narrowable]

    @cached_property
    def carried(self) -> list[int]:
        """Which of `checked_keys` a value itself carries."""
        narrowable = {len(self.tables) + i for i in self.narrowable.values()}
        return [i for i in range(len(self.checked_keys)) if i not in narrowable]

    def _of_stamps(self, key: Callable[[str, str], str]) -> list[str]:
        return [key(self.prefixes[owner], stamp) for owner, stamp in zip(self.owners, self.stamps, strict=True)]

    def standing(self, found: Sequence[bytes | None]) -> bool:
        """All of `checked_keys` are there, and each stamp is of its table's present generation."""
        if None in found:
            return False
        n = len(self.tables)
        return all(
            found[n + i][: keys.TOKEN_LENGTH] == found[owner]  # type: ignore[index]
            for i, owner in enumerate(self.owners)
        )

    @cached_property
    def making_keys(self) -> list[str]:
        """Those that ``read.lua`` makes stamps by: registries, then holds."""
        return [
            *map(keys.registry_key, self.prefixes, self.tables),
            *map(keys.hold_key, self.prefixes, self.tables),
        ]

    @cached_property
    def as_json(self) -> str:
        """What ``read.lua`` registers."""
        members = [
            sorted({scheme.member for scheme in self._schemes if scheme.table == table}) for table in self.tables
        ]
        return json.dumps({"schemes": members, "owners": [owner + 1 for owner in self.owners]})

    def expect_schemes(self) -> None:
        """To be called when they are registered."""
        for scheme, owner in zip(self._schemes, self.owners, strict=True):
            dependency_index.expect(self.prefixes[owner], scheme.table, scheme.member)

    def groups(self, narrowed: Narrowed) -> list[dict[str, Any]]:
        """What ``fill.lua`` is to put in the places of narrowable dependencies."""
        found: list[dict[str, Any]] = []
        for dependency, position in self.narrowable.items():
            owner = self.owners[position]
            prefix, table = self.prefixes[owner], self.tables[owner]
            columns = narrowed.get(dependency)
            if columns is None:
                found.append(_group(owner, prefix, self.stamps[position], "", [""]))
                continue
            for column, tokens in columns.items():
                family = keys.family(dependency.table, column, dependency.columns)
                group = _group(owner, prefix, family.head, family.tail, sorted(tokens))
                found.append({**group, "registry": keys.registry_key(prefix, table), "member": family.member})
        return found


def _group(owner: int, prefix: str, head: str, tail: str, values: list[str]) -> dict[str, Any]:
    group = {"owner": owner + 1, "stamp": keys.stamp_key(prefix, head), "tail": tail, "values": values}
    if not settings.CACHEOPS_INSIDEOUT:
        group["set"] = keys.dependents_key(prefix, head)
    return group


@dataclass(slots=True)
class Lookup:
    """What a read found: the payload of a valid value or MISS, and the stamps that a new value would stand under."""

    key: str
    basis: Basis
    payload: bytes | _Miss
    stamps: list[bytes] | None


def read(key: str, basis: Basis, timeout: int = 0) -> Lookup:
    """Look `key` up together with all that it rests on, in one round trip.

    With a `timeout` in seconds what is absent, and will hardly be found, is made at once, to live as long at least.
    """
    while True:
        deliver_overdue()
        lookup = _read(key, basis, timeout)
        # Before our reply others may have come that tell of a flush which was lost.
        if not is_overdue():
            return lookup


def _read(key: str, basis: Basis, timeout: int) -> Lookup:
    if timeout and not _known.get(key):
        return _run_read(key, basis, timeout)
    if basis.narrowable:
        return _run_read(key, basis, 0)
    value, *found = checked(execute("MGET", key, *basis.checked_keys), 1 + len(basis.checked_keys))
    if not basis.standing(found):
        return Lookup(key, basis, MISS, None)
    payload: bytes | _Miss = MISS
    if value is not None and value[:DIGEST_LENGTH] == _digest(key, found):
        payload = value[DIGEST_LENGTH:]
    return Lookup(key, basis, payload, found)


def take_stamps(lookup: Lookup, timeout: int) -> None:
    """Make sure that `lookup` holds stamps.  To be called before the database is asked."""
    if lookup.stamps is None:
        lookup.stamps = _run_read(lookup.key, lookup.basis, timeout).stamps


def _run_read(key: str, basis: Basis, timeout: int) -> Lookup:
    """Read by script; with a timeout, make what is absent."""
    args: list[Any] = [len(basis.tables), len(basis.stamps), int(bool(basis.narrowable))]
    making_keys: list[str] = []
    if timeout:
        args += [keys.fresh_token(), timeout, basis.as_json]
        making_keys = basis.making_keys
        basis.expect_schemes()
    reply = run_script("read", [key, *basis.checked_keys, *making_keys], args)
    digest, kept, *found = checked(reply, 2 + len(basis.checked_keys))
    payload: bytes | _Miss = MISS
    if digest and digest == _digest(key, [found[i] or b"" for i in basis.carried]):
        payload = kept
        _known.put(key, True)
    return Lookup(key, basis, payload, found if basis.standing(found) else None)


def fill(
    lookup: Lookup,
    payload: bytes,
    timeout: int,
    key: str | None = None,
    narrowed: Narrowed | None = None,
    run: Callable[[str, Sequence[Any], Sequence[Any]], Any] = run_script,
) -> bool:
    """Store `payload` for `timeout` seconds, under `key` if it is another one; False when it was dead on arrival.

    `narrowed` tells what it rests on of the basis' narrowable dependencies.  With `send_script` to `run` it, it may
    still be under way on return.
    """
    if not timeout or lookup.stamps is None:
        return False
    basis = lookup.basis
    dependents = () if settings.CACHEOPS_INSIDEOUT else basis.dependents_keys
    key = key or lookup.key
    digest = _digest(key, [lookup.stamps[i] for i in basis.carried])
    args = [digest, payload, timeout, len(lookup.stamps), *lookup.stamps]
    if basis.narrowable:
        args += [keys.fresh_token(), json.dumps(basis.groups(narrowed or {}))]
    _known.put(lookup.key, True)
    return bool(run("fill", [key, *basis.checked_keys, *dependents], args))


# Only a guess at whether a value will be found, which decides between a command and a script.
_known: Lately[str, bool] = Lately(4096)


def _digest(key: str, stamps: Sequence[bytes]) -> bytes:
    # It proves that a value belongs to its key: a reply may be the one to another request.  Generations and stamps have
    # fixed lengths, so that joining them is unambiguous.
    return hashlib.blake2b(b"".join([*stamps, key.encode()]), digest_size=DIGEST_LENGTH).digest()


def checked(reply: Any, length: int) -> list[Any]:
    """`reply`, if it has the form of a reply to the request for so many values; else as many that are absent."""
    if type(reply) is list and len(reply) == length and _KINDS_OF_VALUES.issuperset(map(type, reply)):
        return reply
    note_confusion()
    return [None] * length


_KINDS_OF_VALUES = frozenset({bytes, type(None)})
