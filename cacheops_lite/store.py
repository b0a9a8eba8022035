"""The store: the protocol that keeps cached values valid.

A cached value carries the stamps that it was built under and is valid while every one of them still stands.  The steps,
in the order that makes it so: `read` (stamps come with the value), `register` (what stamps lack), the database, `fill`;
and on the side of a write, in `outbox`: `look`, the change, `invalidate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from . import keys
from .conditions import Dependency
from .conf import settings
from .outbox import deliver_overdue
from .redis import get_client, run_script

DIGEST_LENGTH = 16


class _Miss:
    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS = _Miss()


class Basis:
    """What a result rests on, as Redis keys: generations of tables and stamps of dependencies.

    `prefix` is that of all keys, or tells the one of each table.
    """

    def __init__(
        self,
        prefix: str | Callable[[str], str],
        dependencies: Iterable[Dependency],
        tables: Iterable[str] = (),
    ):
        schemes = sorted({keys.scheme(dependency) for dependency in dependencies})
        self.tables = sorted({scheme.table for scheme in schemes} | set(map(keys.name, tables)))
        self.prefixes = [prefix if isinstance(prefix, str) else prefix(table) for table in self.tables]
        self.stamps = [scheme.stamp for scheme in schemes]
        self.owners = [self.tables.index(scheme.table) for scheme in schemes]
        self._members = [
            sorted({scheme.member for scheme in schemes if scheme.table == table}) for table in self.tables
        ]

    @cached_property
    def checked_keys(self) -> list[str]:
        """The keys that a value's header is checked against: generations, then stamps."""
        return [*map(keys.generation_key, self.prefixes, self.tables), *self._of_stamps(keys.stamp_key)]

    @cached_property
    def dependents_keys(self) -> list[str]:
        return self._of_stamps(keys.dependents_key)

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

    def register(self, timeout: int) -> list[bytes]:
        """Make what is absent and return all of `checked_keys`' values."""
        n = len(self.tables)
        generations, stamps = self.checked_keys[:n], self.checked_keys[n:]
        registries = [*map(keys.registry_key, self.prefixes, self.tables)]
        plan = {"schemes": self._members, "owners": [owner + 1 for owner in self.owners]}
        return run_script(
            "register",
            [*generations, *registries, *stamps],
            [keys.fresh_token(), timeout, json.dumps(plan)],
        )


@dataclass(slots=True)
class Lookup:
    """What a read found: the payload of a valid value or MISS, and the stamps that a new value would stand under."""

    key: str
    basis: Basis
    payload: bytes | _Miss
    stamps: list[bytes] | None


def read(key: str, basis: Basis) -> Lookup:
    """Look `key` up together with all that it rests on, in one round trip."""
    deliver_overdue()
    value, *found = cast("list[Any]", get_client().mget([key, *basis.checked_keys]))
    if not basis.standing(found):
        return Lookup(key, basis, MISS, None)
    payload: bytes | _Miss = MISS
    if value is not None and value[:DIGEST_LENGTH] == _digest(found):
        payload = value[DIGEST_LENGTH:]
    return Lookup(key, basis, payload, found)


def take_stamps(lookup: Lookup, timeout: int) -> None:
    """Make sure that `lookup` holds stamps.  To be called before the database is asked."""
    if lookup.stamps is None:
        lookup.stamps = lookup.basis.register(timeout)


def fill(lookup: Lookup, payload: bytes, timeout: int, key: str | None = None) -> bool:
    """Store `payload` for `timeout` seconds, under `key` if it is another one; False when it was dead on arrival."""
    if not timeout or lookup.stamps is None:
        return False
    basis = lookup.basis
    dependents = () if settings.CACHEOPS_INSIDEOUT else basis.dependents_keys
    stored = run_script(
        "fill",
        [key or lookup.key, *basis.checked_keys, *dependents],
        [_digest(lookup.stamps) + payload, timeout, len(lookup.stamps), *lookup.stamps],
    )
    return bool(stored)


def _digest(stamps: Sequence[bytes]) -> bytes:
    # Generations and stamps have fixed lengths, so that joining them is unambiguous.
    return hashlib.blake2b(b"".join(stamps), digest_size=DIGEST_LENGTH).digest()
