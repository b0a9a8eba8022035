"""Measure which share of cached results survives the writes that do not change them, by class of query."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import connection

from cacheops_lite import invalidate_all
from cacheops_lite.signals import cache_decision
from tests.conftest import counted_reads
from tests.property import journal_reads, journal_rows
from tests.support.uncached import uncached

TABLE = re.compile(r"\bjournal_\w+")
WRITING = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b")
# Writes until other reads are cached.
WRITES_OF_A_POOL = 25


@dataclass
class KeptShares:
    """By class, or by read: how many results did not change although their tables were written, and were kept."""

    unchanged: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, is_kept: bool) -> None:
        self.unchanged[name] += 1
        self.kept[name] += is_kept

    def share(self, name: str) -> float:
        """Return the share of a class in percent."""
        return 100 * self.kept[name] / self.unchanged[name] if self.unchanged[name] else 100.0

    @property
    def overall(self) -> float:
        """The share of all classes in percent."""
        return 100 * self.kept.total() / self.unchanged.total()

    def __str__(self) -> str:
        lines = [
            f"{name:18}{self.share(name):4.0f} % kept of {self.unchanged[name]}"
            for name in sorted(self.unchanged, key=self.share)
        ]
        return "\n".join([*lines, f"{'overall':18}{self.overall:4.1f} % kept of {self.unchanged.total()}"])


@dataclass
class Figures:
    """The shares by class and by line of the read, the dependencies of each read, and how many writes there were."""

    by_class: KeptShares = field(default_factory=KeptShares)
    by_line: KeptShares = field(default_factory=KeptShares)
    dependencies: list[int] = field(default_factory=list)
    # Why results that did not change were not kept.
    reasons: Counter[str] = field(default_factory=Counter)
    writes: int = 0


def run(seed: int, writes: int) -> Figures:
    """Make random writes; after each, compare each cached read of a table that it wrote with the database.

    A stale read raises AssertionError.
    """
    rng = random.Random(seed)
    journal_rows.populate(rng)
    figures = Figures()
    pool: list[CachedRead] = []
    while figures.writes < writes:
        keys = journal_rows.Keys.read()
        if figures.writes % WRITES_OF_A_POOL == 0:
            invalidate_all()
            pool = [CachedRead(*each) for each in journal_reads.pool(rng, keys)]
            for each in pool:
                each.look_up()
            _note_true_values(pool)
        with _tables(WRITING) as written:
            journal_rows.write(rng, keys)
        figures.writes += 1
        _compare(figures, [each for each in pool if not each.tables.isdisjoint(written)])
    return figures


@dataclass
class CachedRead:
    """A read of the pool: what the cache returned last, what the database has, and the tables that this comes from."""

    class_name: str
    read: journal_reads.Read
    found: Any = None
    value: Any = None
    tables: set[str] = field(default_factory=set)
    is_hit: bool = False
    # As of the last miss: a hit does not tell which row-level dependencies its value has.
    number_of_dependencies: int = 0
    reason: str = ""

    @property
    def line(self) -> str:
        return f"{self.class_name}, line {self.read.__code__.co_firstlineno}"

    def look_up(self) -> None:
        """Read through the cache."""
        with counted_reads() as counted, _decisions() as decisions:
            self.found = _evaluate(self.read)
        self.is_hit = bool(counted.hits and not counted.misses)
        if not self.is_hit:
            self.number_of_dependencies = sum(len(each.dependencies) for each in decisions)
            self.reason = ", ".join(str(each.reason) for each in decisions)


def _compare(figures: Figures, reads: list[CachedRead]) -> None:
    for each in reads:
        each.look_up()
        figures.dependencies.append(each.number_of_dependencies)
    before = [each.value for each in reads]
    _note_true_values(reads)
    for each, value in zip(reads, before, strict=True):
        if each.found != each.value:
            raise AssertionError(
                f"stale after {figures.writes} writes: {each.line}\n  is {each.found}\n not {each.value}"
            )
        if each.value == value:
            figures.by_class.note(each.class_name, each.is_hit)
            figures.by_line.note(each.line, each.is_hit)
            figures.reasons.update([] if each.is_hit else [each.reason])


def _note_true_values(reads: list[CachedRead]) -> None:
    def note() -> None:
        for each in reads:
            with _tables(re.compile("")) as tables:
                each.value = _evaluate(each.read)
            each.tables = tables

    # All at once, because a change of a setting makes the cache forget its plans.
    uncached(note)


def _evaluate(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ObjectDoesNotExist as error:
        return type(error)


@contextmanager
def _tables(statement: re.Pattern[str]) -> Iterator[set[str]]:
    """Collect the tables of the journal that statements name, of those that match `statement`."""
    found: set[str] = set()

    def note(execute, sql, params, many, context):
        if statement.match(sql):
            found.update(TABLE.findall(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


@contextmanager
def _decisions() -> Iterator[list[Any]]:
    """Collect what is decided about each read."""
    found: list[Any] = []

    def note(sender, decision, **kwargs):
        found.append(decision)

    cache_decision.connect(note)
    try:
        yield found
    finally:
        cache_decision.disconnect(note)
