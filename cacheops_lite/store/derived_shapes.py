"""Find the dependencies with derived conditions that a change meets without looking at each shape.

Shapes are grouped by a condition that each of them has: comparisons of one column in one direction are found by
bisection, inequalities by the one token that does not meet them.  A benchmark is in bench/conditions.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..schema import NULL, DerivedCondition
from .dependency_shapes import NO_DEPENDENCY, Shape
from .write_set import AnyChange, Change


class _Group(Protocol):
    """Dependencies, each with one condition on the same column.  Each has an identity: its name, or its shape."""

    def met(self, token: str) -> Iterable[Any]:
        """Return the dependencies whose conditions a row with this token meets."""


class _Ordered:
    """Comparisons in one direction, the bounds in ascending order."""

    def __init__(self, members: list[tuple[DerivedCondition, Any]]):
        members.sort(key=lambda member: member[0].rank)
        self._read: Any = members[0][0].read
        self._is_upper = members[0][0].order == "<"
        self._ranks = [condition.rank for condition, _ in members]
        self._all = [each for _, each in members]
        self._met_by_null = [each for condition, each in members if condition.meets_null]

    def met(self, token: str) -> Iterable[Any]:
        if token == NULL:
            return self._met_by_null
        value = self._read(token)
        if value is None:
            return self._all
        position = bisect_right(self._ranks, (value, 0))
        return self._all[position:] if self._is_upper else self._all[:position]


class _Unequal:
    """Conditions that all tokens meet but a few."""

    def __init__(self, members: list[tuple[DerivedCondition, Any]]):
        self._all = {each for _, each in members}
        self._refused: dict[str, set[Any]] = {}
        for condition, each in members:
            for token in condition.refused:
                self._refused.setdefault(token, set()).add(each)

    def met(self, token: str) -> Iterable[Any]:
        refused = self._refused.get(token)
        return self._all if refused is None else self._all - refused


class _Compared:
    """Conditions that are compared one by one, with a value that is made once."""

    def __init__(self, members: list[tuple[DerivedCondition, Any]]):
        self._read: Any = members[0][0].read
        self._compare = members[0][0].compare
        self._members = [(condition.operand, each) for condition, each in members]
        self._met_by_null = [each for condition, each in members if condition.meets_null]

    def met(self, token: str) -> Iterable[Any]:
        if token == NULL:
            return self._met_by_null
        value, compare = self._read(token), self._compare
        return [each for operand, each in self._members if value is None or compare(value, operand)]


class DerivedShapes:
    """The shapes of a table that have derived conditions."""

    def __init__(self, shapes: Iterable[Shape]):
        self._shapes = list(shapes)
        # By the columns that results read: the shapes that have these, the column of each group, and the group.
        self._by_reads: dict[frozenset[str] | None, list[tuple[Shape, str, bool, _Group]]] = {}
        members: dict[Any, tuple[Shape, list[tuple[DerivedCondition, Any]]]] = {}
        for shape in self._shapes:
            column, condition = shape.derived[0]
            is_sole = len(shape.parts) == 1
            # The dependency of a sole condition has the same name for all rows.
            each = shape.dependency(shape.joined) if is_sole else shape
            identity = shape.reads, column, is_sole, condition.family
            members.setdefault(identity, (shape, []))[1].append((condition, each))
        for (reads, column, is_sole, _), (shape, own) in members.items():
            kind: Any = _Unequal if own[0][0].operator == "!=" else _Ordered if own[0][0].order else _Compared
            self._by_reads.setdefault(reads, []).append((shape, column, is_sole, kind(own)))

    def add_met(self, change: AnyChange, found: set[str]) -> bool:
        """Add the dependencies that a change meets to `found`; return False if an image lacks a column."""
        if not isinstance(change, Change):
            return _add_one_by_one(change, self._shapes, found)
        for groups in self._by_reads.values():
            if change.changed is not None and not groups[0][0].reads_any(change.changed):
                continue
            for image in (change.old, change.new):
                if image is not None and not _add_met_by(image, groups, found):
                    return False
        return True


def _add_one_by_one(change: AnyChange, shapes: Iterable[Shape], found: set[str]) -> bool:
    for shape in shapes:
        dependencies = change.dependencies(shape)
        if dependencies is None:
            return False
        found.update(dependencies)
    return True


def _add_met_by(image: Mapping[str, str], groups: Iterable[tuple[Shape, str, bool, _Group]], found: set[str]) -> bool:
    for _, column, is_sole, group in groups:
        token = image.get(column)
        if token is None:
            return False
        met = group.met(token)
        if is_sole:
            found.update(met)
            continue
        for shape in met:
            dependency = shape.dependency_of(image)
            if dependency is None:
                return False
            if dependency != NO_DEPENDENCY:
                found.add(dependency)
    return True
