"""What the schemes of tables ask for, as their registries in Redis tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..conf import on_change
from ..utils import Lately
from . import keys
from .client import CLIENT_SETTINGS, get_client, note_confusion
from .dependency_shapes import VERSION, parse
from .write_set import AnyChange

# Of one table in one flush; where changes meet more, the table falls: the script would keep others waiting.
MAX_STAMPS = 5000


class Registry:
    """The schemes of a table.  As schemes are only added, `version` and `size` tell one from any other."""

    __slots__ = ("members", "schemes", "size", "version")

    def __init__(self, members: Sequence[bytes]):
        self.members = frozenset(members)
        versions = [member for member in members if member.startswith(VERSION.encode())]
        parsed = [parse(member) for member in members if member not in versions]
        self.schemes = [scheme for scheme in parsed if scheme is not None]
        self.size = len(members)
        # None if there is something in it that is not ours: nothing can be told then.
        self.version = versions[0] if len(versions) == 1 and None not in parsed else None

    def met_by(self, changes: Iterable[AnyChange]) -> set[str] | None:
        """The stamps that changes of the table meet, None if that can't be told, or not briefly."""
        met: set[str] = set()
        for change in changes:
            for scheme in self.schemes:
                stamps = change.stamps(scheme)
                if stamps is None:
                    return None
                met.update(stamps)
            if len(met) > MAX_STAMPS:
                return None
        return met


@dataclass(slots=True)
class Wanted:
    """What the schemes of some tables ask for, by table: columns of conditions, and columns that are read.

    A table whose `reads` are None has a scheme that reads all columns.  `schemes` are the columns of conditions that go
    together, joined by commas.
    """

    conditions: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str] | None] = field(default_factory=dict)
    schemes: dict[str, set[str]] = field(default_factory=dict)

    def note(self, table: str, registry: Registry) -> None:
        """Add the schemes of a registry."""
        conditions = self.conditions.setdefault(table, set())
        schemes = self.schemes.setdefault(table, set())
        reads: set[str] | None = self.reads.get(table, set())
        for scheme in registry.schemes:
            schemes.add(scheme.joined)
            conditions.update(scheme.columns)
            if scheme.reads is None:
                reads = None
            elif reads is not None:
                reads |= scheme.reads
        self.reads[table] = reads

    def asks_for(self, table: str, column: str) -> bool:
        """Some result rests on the column."""
        reads = self.reads[table]
        return reads is None or column in reads


def wanted(prefixes: Mapping[str, Sequence[str]]) -> Wanted | None:
    """What the schemes of tables ask for, under each of their prefixes, as far as is known here; None before `ask`.

    One that it does not know of may ask for more than images then tell, and drops the table.
    """
    found = Wanted()
    for table in prefixes:
        for prefix in prefixes[table]:
            registry = understood(prefix, table)
            if registry is None:
                return None
            found.note(table, registry)
    return found


def ask(prefixes: Mapping[str, Sequence[str]]) -> None:
    """Get to know the registries of tables, under each of their prefixes, in one round trip."""
    places = [(prefix, table) for table in prefixes for prefix in prefixes[table]]
    pipeline = get_client().pipeline(transaction=False)
    for prefix, table in places:
        pipeline.smembers(keys.registry_key(prefix, table))
    try:
        replies = pipeline.execute()
    except (TypeError, ValueError):
        # What redis-py makes of the replies to other requests.
        replies = [None]
    if not all(type(members) in (set, list) and all(type(each) is bytes for each in members) for members in replies):
        note_confusion()
        return
    for (prefix, table), members in zip(places, replies, strict=True):
        note(prefix, table, members)


def known(prefix: str, table: str) -> Registry | None:
    """The registry of a table, as it was when this process last heard of it."""
    return _known.get((prefix, table))


def understood(prefix: str, table: str) -> Registry | None:
    """The same, if all that is in it is ours."""
    registry = known(prefix, table)
    return registry if registry is None or registry.version is not None or not registry.size else None


def note(prefix: str, table: str, members: Sequence[bytes]) -> Registry:
    """The registry that has these members."""
    registry = Registry(members)
    _known.put((prefix, table), registry)
    return registry


def expect(prefix: str, table: str, member: str) -> None:
    """To be called when this process registers a scheme: what it knew without that is out of date."""
    registry = known(prefix, table)
    if registry is not None and member.encode() not in registry.members:
        _known.forget((prefix, table))


_known: Lately[tuple[str, str], Registry] = Lately(1000)


@on_change
def _forget(setting: str) -> None:
    # Those of another server.
    if setting in CLIENT_SETTINGS:
        _known.clear()
