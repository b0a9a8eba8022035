"""What the schemes of tables ask for, as their registries in Redis tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import keys
from .redis import get_client


@dataclass(slots=True)
class Wanted:
    """What the schemes of some tables ask for, by table: columns of conditions, and columns that are read.

    A table whose `reads` are None has a scheme that reads all columns.  `schemes` are the columns of conditions that go
    together, joined by commas.
    """

    conditions: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str] | None] = field(default_factory=dict)
    schemes: dict[str, set[str]] = field(default_factory=dict)

    def note(self, table: str, members: Iterable[bytes]) -> None:
        """Add the schemes of a registry."""
        conditions = self.conditions.setdefault(table, set())
        schemes = self.schemes.setdefault(table, set())
        reads: set[str] | None = self.reads.get(table, set())
        for member in filter(None, members):
            columns, _, rest = member.decode("utf-8", "replace").partition("|")
            schemes.add(columns)
            conditions.update(filter(None, columns.split(",")))
            if rest == "*":
                reads = None
            elif rest and reads is not None:
                reads.update(rest.rpartition("|")[2].split(","))
        self.reads[table] = reads

    def asks_for(self, table: str, column: str) -> bool:
        """Some result rests on the column."""
        reads = self.reads[table]
        return reads is None or column in reads


def wanted(prefixes: Mapping[str, Sequence[str]]) -> Wanted:
    """What the schemes of tables ask for, under each of their prefixes; in one round trip."""
    places = [(prefix, table) for table in prefixes for prefix in prefixes[table]]
    pipeline = get_client().pipeline(transaction=False)
    for prefix, table in places:
        pipeline.smembers(keys.registry_key(prefix, table))
    found = Wanted()
    for (_, table), members in zip(places, pipeline.execute(), strict=True):
        found.note(table, members)
        _learn(table, found.conditions[table])
    return found


def named_columns(table: str) -> Sequence[str]:
    """The columns that schemes of a table were found to name in their conditions; there may be others by now."""
    return _named.get(table, ())


def note_members(table: bytes, members: Iterable[bytes]) -> str:
    """Take in what is registered of a table, by its name, which is returned."""
    name, found = table.decode("utf-8", "replace"), Wanted()
    found.note(name, members)
    _learn(name, found.conditions[name])
    return name


def _learn(table: str, columns: set[str]) -> None:
    if not columns.issubset(known := _named.get(table, ())):
        _named[table] = tuple(sorted(columns.union(known)))


# By table.  Of no others the tokens are made and sent; what is missing here costs one more round trip.
_named: dict[str, tuple[str, ...]] = {}
