"""Find the dependencies with derived conditions that a change meets, without looking at each condition of each shape.

Conditions are grouped: comparisons of one column in one direction are found by bisection, inequalities by the one token
that does not meet them, beginnings and ends of texts by their characters.  A benchmark is in bench/conditions.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ..schema import NULL, DerivedCondition
from .dependency_shapes import Shape
from .write_set import AnyChange, Change

# Conditions of one family, each with a name: its own, or that of the dependency if it is the only condition there.
_Members = list[tuple[DerivedCondition, str]]


class _Group(Protocol):
    def met(self, token: str) -> Collection[str]:
        """Return the names of the conditions that a row with this token meets."""


class _Ordered:
    """Comparisons in one direction, the bounds in ascending order."""

    def __init__(self, members: _Members):
        members.sort(key=lambda member: member[0].rank)
        self._read: Any = members[0][0].read
        self._is_upper = members[0][0].order == "<"
        self._ranks = [condition.rank for condition, _ in members]
        self._names = [name for _, name in members]

    def met(self, token: str) -> Collection[str]:
        value = self._read(token)
        if value is None:
            return self._names
        position = bisect_right(self._ranks, (value, 0))
        return self._names[position:] if self._is_upper else self._names[:position]


class _Unequal:
    """Conditions that all tokens meet but a few."""

    def __init__(self, members: _Members):
        self._names = frozenset(name for _, name in members)
        self._refused: dict[str, set[str]] = {}
        for condition, name in members:
            for token in condition.refused:
                self._refused.setdefault(token, set()).add(name)

    def met(self, token: str) -> Collection[str]:
        refused = self._refused.get(token)
        return self._names if refused is None else self._names - refused


class _AtEnd:
    """Beginnings or ends of texts."""

    def __init__(self, members: _Members):
        self._read: Any = members[0][0].read
        self._is_beginning = members[0][0].operator == "^"
        self._names = [name for _, name in members]
        self._by_text: dict[str, list[str]] = {}
        for condition, name in members:
            self._by_text.setdefault(condition.operand, []).append(name)
        self._lengths = sorted(set(map(len, self._by_text)))

    def met(self, token: str) -> Collection[str]:
        text = self._read(token)
        if text is None:
            return self._names
        found: list[str] = []
        for length in self._lengths:
            end = text[:length] if self._is_beginning else text[max(len(text) - length, 0) :]
            found += self._by_text.get(end, ())
        return found


class _Contained:
    """Parts or characters of texts."""

    def __init__(self, members: _Members):
        self._read: Any = members[0][0].read
        self._has_characters = members[0][0].operator == "@"
        self._members = [(condition.operand, name) for condition, name in members]

    def met(self, token: str) -> Collection[str]:
        text = self._read(token)
        if text is None:
            return [name for _, name in self._members]
        if self._has_characters:
            return [name for characters, name in self._members if characters <= text]
        return [name for part, name in self._members if part in text]


_KINDS: dict[str, Any] = {"!=": _Unequal, "^": _AtEnd, "$": _AtEnd}


class _Conditions:
    """Conditions on the columns of a table, each with a name."""

    def __init__(self, members: Iterable[tuple[str, DerivedCondition, str]]):
        families: dict[Any, _Members] = {}
        self._met_by_null: dict[str, list[str]] = {}
        for column, condition, name in members:
            families.setdefault((column, condition.family), []).append((condition, name))
            names = self._met_by_null.setdefault(column, [])
            if condition.is_met(NULL):
                names.append(name)
        self._groups: dict[str, list[_Group]] = {}
        for (column, _), own in families.items():
            first = own[0][0]
            kind = _Ordered if first.order else _KINDS.get(first.operator, _Contained)
            self._groups.setdefault(column, []).append(kind(own))

    def add_met(self, image: Mapping[str, str], met: set[str], lacking: set[str]) -> None:
        """Add the names of the conditions that a row meets to `met`, and the columns that it lacks to `lacking`."""
        for column, groups in self._groups.items():
            token = image.get(column)
            if token is None:
                lacking.add(column)
            elif token == NULL:
                met.update(self._met_by_null[column])
            else:
                for group in groups:
                    met.update(group.met(token))


class _Single(NamedTuple):
    """Shapes with one derived condition that results read alike and that compare the same columns for equality.

    The names of `conditions` are what the names of the dependencies have after the equalities.
    """

    shape: Shape
    columns: tuple[str, ...]
    conditions: _Conditions


class _Several(NamedTuple):
    """Shapes with several derived conditions, else like those of `_Single`.

    `members` are the names of the last and of the first of their derived conditions, of all of them if there are more,
    and what the name of the dependency has after the equalities.
    """

    shape: Shape
    columns: tuple[str, ...]
    derived_columns: frozenset[str]
    members: list[tuple[str, str, frozenset[str] | None, str]]


class DerivedShapes:
    """The shapes of a table that have derived conditions."""

    def __init__(self, shapes: Iterable[Shape]):
        self._shapes = list(shapes)
        alike: dict[Any, list[Shape]] = {}
        for shape in self._shapes:
            columns = tuple(column for column, condition in shape.parts if condition is None)
            alike.setdefault((len(shape.derived) == 1, shape.reads, columns), []).append(shape)
        self._single = [
            _Single(own[0], columns, _Conditions((*each.derived[0], _end_of_name(each)) for each in own))
            for (is_single, _, columns), own in alike.items()
            if is_single
        ]
        self._several = [_several(own, columns) for (is_single, _, columns), own in alike.items() if not is_single]
        names = {
            name: part
            for (is_single, *_), own in alike.items()
            if not is_single
            for each in own
            for name, part in _derived_parts(each)
        }
        self._conditions = _Conditions((column, condition, name) for name, (column, condition) in names.items())

    def add_met(self, change: AnyChange, found: set[str]) -> bool:
        """Add the dependencies that a change meets to `found`; return False if an image lacks a column."""
        if not isinstance(change, Change):
            return self._add_one_by_one(change, found)
        changed = change.changed
        single = [each for each in self._single if changed is None or each.shape.reads_any(changed)]
        several = [each for each in self._several if changed is None or each.shape.reads_any(changed)]
        images = [image for image in (change.old, change.new) if image is not None]
        return all(_add_met_by_single(images, each, found) for each in single) and all(
            self._add_met_by_several(image, several, found) for image in images
        )

    def _add_met_by_several(self, image: Mapping[str, str], several: Collection[_Several], found: set[str]) -> bool:
        if not several:
            return True
        met: set[str] = set()
        lacking: set[str] = set()
        self._conditions.add_met(image, met, lacking)
        for each in several:
            beginning = _equalities(each.columns, image)
            if beginning is None or not lacking.isdisjoint(each.derived_columns):
                return False
            # Two tests are faster than one with sets.  Most have two: a range.
            found.update(
                [
                    beginning + end
                    for first, last, needed, end in each.members
                    if first in met and last in met and (needed is None or needed <= met)
                ]
            )
        return True

    def _add_one_by_one(self, change: AnyChange, found: set[str]) -> bool:
        for shape in self._shapes:
            dependencies = change.dependencies(shape)
            if dependencies is None:
                return False
            found.update(dependencies)
        return True


def _add_met_by_single(images: Iterable[Mapping[str, str]], single: _Single, found: set[str]) -> bool:
    lacking: set[str] = set()
    # By the beginning of the names: what follows.  Mostly both images have the same beginning.
    met: dict[str, set[str]] = {}
    for image in images:
        beginning = _equalities(single.columns, image)
        if beginning is None:
            return False
        single.conditions.add_met(image, met.setdefault(beginning, set()), lacking)
    for beginning, ends in met.items():
        found.update([beginning + end for end in ends] if beginning else ends)
    return not lacking


def _equalities(columns: Iterable[str], image: Mapping[str, str]) -> str | None:
    """Return with what the name of a dependency begins that compares these columns; None if the image lacks one."""
    found = ""
    for column in columns:
        token = image.get(column)
        if token is None:
            return None
        found += f"{column}={token}&"
    return found


# Cached, because an index that has grown by a shape is grouped anew, and all its other shapes are the same.
@lru_cache(maxsize=4096)
def _derived_parts(shape: Shape) -> tuple[tuple[str, tuple[str, DerivedCondition]], ...]:
    """Return the derived conditions of a shape, each with its name and its column."""
    parts = zip(shape.joined.split(","), shape.parts, strict=True)
    return tuple([(name, (column, condition)) for name, (column, condition) in parts if condition is not None])


@lru_cache(maxsize=4096)
def _end_of_name(shape: Shape) -> str:
    """Return what the names of a shape's dependencies have after the equalities, which come first."""
    return shape.dependency("&".join(name for name, _ in _derived_parts(shape)))


def _several(shapes: list[Shape], columns: tuple[str, ...]) -> _Several:
    members = []
    for shape in shapes:
        names = [name for name, _ in _derived_parts(shape)]
        needed = frozenset(names) if len(names) > 2 else None
        members.append((names[-1], names[0], needed, _end_of_name(shape)))
    return _Several(shapes[0], columns, frozenset(column for each in shapes for column, _ in each.derived), members)
