"""What the shapes of tables ask for, as their dependency indexes in Redis tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..conf import on_change
from ..utils import LruMap
from . import keys
from .client import CLIENT_SETTINGS, get_client, note_confusion
from .dependency_shapes import INCARNATION, parse
from .write_set import AnyChange

# Of one table in one flush; where changes meet more, the table falls: the script would keep others waiting.
MAX_DEPENDENCIES = 5000


class DependencyIndex:
    """The shapes of a table.  As shapes are only added, `incarnation` and `size` tell one from any other."""

    __slots__ = ("incarnation", "members", "shapes", "size")

    def __init__(self, members: Sequence[bytes]):
        self.members = frozenset(members)
        incarnations = [member for member in members if member.startswith(INCARNATION.encode())]
        parsed = [parse(member) for member in members if member not in incarnations]
        self.shapes = [shape for shape in parsed if shape is not None]
        self.size = len(members)
        # None if there is something in it that is not ours: nothing can be told then.
        self.incarnation = incarnations[0] if len(incarnations) == 1 and None not in parsed else None

    def met_by(self, changes: Iterable[AnyChange]) -> set[str] | None:
        """The versions that changes of the table meet, None if that can't be told, or not briefly."""
        met: set[str] = set()
        for change in changes:
            for shape in self.shapes:
                dependencies = change.dependencies(shape)
                if dependencies is None:
                    return None
                met.update(dependencies)
            if len(met) > MAX_DEPENDENCIES:
                return None
        return met


@dataclass(slots=True)
class Wanted:
    """What the shapes of some tables ask for, by table: columns of conditions, and columns that are read.

    A table whose `reads` are None has a shape that reads all columns.  `shapes` are the columns of conditions that go
    together, joined by commas.
    """

    conditions: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str] | None] = field(default_factory=dict)
    shapes: dict[str, set[str]] = field(default_factory=dict)

    def note(self, table: str, index: DependencyIndex) -> None:
        """Add the shapes of a dependency index."""
        conditions = self.conditions.setdefault(table, set())
        shapes = self.shapes.setdefault(table, set())
        reads: set[str] | None = self.reads.get(table, set())
        for shape in index.shapes:
            shapes.add(shape.joined)
            conditions.update(shape.columns)
            if shape.reads is None:
                reads = None
            elif reads is not None:
                reads |= shape.reads
        self.reads[table] = reads

    def asks_for(self, table: str, column: str) -> bool:
        """Some result rests on the column."""
        reads = self.reads[table]
        return reads is None or column in reads


def wanted(prefixes: Mapping[str, Sequence[str]]) -> Wanted | None:
    """What the shapes of tables ask for, under each of their prefixes, as far as is known here; None before `ask`.

    One that it does not know of may ask for more than images then tell, and drops the table.
    """
    found = Wanted()
    for table in prefixes:
        for prefix in prefixes[table]:
            index = understood(prefix, table)
            if index is None:
                return None
            found.note(table, index)
    return found


def ask(prefixes: Mapping[str, Sequence[str]]) -> None:
    """Get to know the dependency indexes of tables, under each of their prefixes, in one round trip."""
    places = [(prefix, table) for table in prefixes for prefix in prefixes[table]]
    pipeline = get_client().pipeline(transaction=False)
    for prefix, table in places:
        pipeline.smembers(keys.index_key(prefix, table))
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


def known(prefix: str, table: str) -> DependencyIndex | None:
    """The dependency index of a table, as it was when this process last heard of it."""
    return _known.get((prefix, table))


def understood(prefix: str, table: str) -> DependencyIndex | None:
    """The same, if all that is in it is ours."""
    index = known(prefix, table)
    return index if index is None or index.incarnation is not None or not index.size else None


def note(prefix: str, table: str, members: Sequence[bytes]) -> DependencyIndex:
    """The dependency index that has these members."""
    index = DependencyIndex(members)
    _known.put((prefix, table), index)
    return index


def expect(prefix: str, table: str, member: str) -> None:
    """To be called when this process registers a shape: what it knew without that is out of date."""
    index = known(prefix, table)
    if index is not None and member.encode() not in index.members:
        _known.forget((prefix, table))


_known: LruMap[tuple[str, str], DependencyIndex] = LruMap(1000)


@on_change
def _forget(setting: str) -> None:
    # Those of another server.
    if setting in CLIENT_SETTINGS:
        _known.clear()
