"""A state machine: random writes in random transactions, after which each read equals what it is without the cache."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

from django.core.exceptions import FieldError, MultipleObjectsReturned, ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from cacheops_lite import invalidate_all
from tests.conftest import counted_reads
from tests.property import namespace
from tests.property.differential import Figures, uncached
from tests.property.plain import plain
from tests.property.population import Population
from tests.property.reads import READS
from tests.property.writes import (
    WRITES,
    deletes,
    inserts,
    links,
    mass_writes,
    moves,
    odd_writes,
    raw_writes,
    related_writes,
    saves,
)

POOL = 10
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("TEST_SHRINK", "1") == "1" else [Phase.generate]
# Written once a transaction is committed.
LATE = "Tag.objects.filter(pk=1).update(word='late')"
UNKNOWN = object()
# What a database or Django refuses: rows that are not there, keys that are, protected ones.
REFUSALS = (
    *(DatabaseError, ObjectDoesNotExist, MultipleObjectsReturned, FieldError),
    *(ValueError, TypeError, AttributeError, KeyError, LookupError),
    # The driver's own, by methods of its own.
    connection.Database.Error,
)


@dataclass
class Known:
    """A read of the pool, and its true value when it was last read."""

    value: Any


class Undo(Exception):
    """Rolls a block back."""


@dataclass
class Atomic:
    """A transaction or, within another one, a savepoint."""

    steps: list[Any]
    end: str = "commit"

    def run(self, machine: HistoryMachine) -> None:
        try:
            with transaction.atomic():
                if "on_commit" in self.end:
                    transaction.on_commit(lambda: execute(LATE))
                for step in self.steps:
                    step.run(machine)
                if self.end == "set_rollback":
                    transaction.set_rollback(True)
                if self.end == "raise":
                    raise Undo
        except Undo:
            pass


@dataclass
class Savepoint:
    """A savepoint set and ended by hand."""

    steps: list[Any]
    undone: bool

    def run(self, machine: HistoryMachine) -> None:
        mark = transaction.savepoint()
        for step in self.steps:
            step.run(machine)
        (transaction.savepoint_rollback if self.undone else transaction.savepoint_commit)(mark)


@dataclass
class Write:
    text: str
    # In a savepoint of its own, so that its failure leaves the transaction usable.
    guarded: bool = True

    def run(self, machine: HistoryMachine) -> None:
        if not self.guarded:
            execute(self.text)
            return
        try:
            with transaction.atomic():
                execute(self.text)
        except REFUSALS:
            pass


@dataclass
class Read:
    text: str

    def run(self, machine: HistoryMachine) -> None:
        compare_if_usable(machine, [self.text])


@dataclass
class ReadPool:
    """All of the pool's reads."""

    def run(self, machine: HistoryMachine) -> None:
        compare_if_usable(machine, machine.pool)


def compare_if_usable(machine: HistoryMachine, texts: Iterable[str]) -> None:
    """Unless the transaction is broken: then Django reads nothing, and from the cache there may be hits."""
    for text in texts:
        if not connection.needs_rollback:
            machine.compare(text)


STEPS = (
    st.builds(ReadPool) | st.builds(Write, WRITES) | st.builds(Write, WRITES, st.booleans()) | st.builds(Read, READS)
)
ENDS = st.sampled_from(["commit", "commit", "raise", "set_rollback", "commit on_commit"])
BLOCKS: Any = st.recursive(
    st.builds(Atomic, st.lists(STEPS, min_size=1, max_size=3), ENDS),
    lambda inner: (
        st.builds(Atomic, st.lists(STEPS | inner, min_size=1, max_size=3), ENDS)
        | st.builds(Savepoint, st.lists(STEPS | inner, min_size=1, max_size=3), st.booleans())
    ),
    max_leaves=3,
)


def execute(text: str) -> None:
    exec(_compiled(text, "exec"), {**vars(namespace)})


def evaluate(text: str) -> Any:
    """What the read yields as plain values, or the type of its error."""
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            return plain(eval(_compiled(text, "eval"), vars(namespace)))
    except REFUSALS as error:
        return type(error)


@lru_cache(maxsize=4096)
def _compiled(text: str, mode: str) -> CodeType:
    return compile(text, f"<{text}>", mode)


def attempt(text: str) -> None:
    """Write; where it is refused, it would be so without the cache as well."""
    try:
        execute(text)
    except REFUSALS as error:
        # Constraints may be checked at the commit only, which the second attempt has not; by COPY's own class, too.
        is_constraint_s = any(each.__name__ == IntegrityError.__name__ for each in type(error).__mro__)
        if connection.in_atomic_block or is_constraint_s:
            raise
        again = None
        with suppress(Undo), override_settings(CACHEOPS_ENABLED=False), transaction.atomic():
            try:
                execute(text)
            except REFUSALS as refusal:
                again = refusal
            raise Undo from again
        if type(again) is not type(error):
            raise AssertionError(f"{text} is refused with the cache only: {error!r}, without it {again!r}") from error


# Those that the machine is for.
THE_READS = st.runner().flatmap(lambda machine: machine.reads)


class HistoryMachine(RuleBasedStateMachine):
    """Each step writes, or adds a read to the pool; then all reads of the pool are compared."""

    population: Population
    figures: Figures
    reads: Any = READS
    pool: dict[str, Known]

    @initialize(reads=st.lists(THE_READS, min_size=6, max_size=POOL))
    def begin(self, reads):
        self.pool = {}
        namespace.kept.clear()
        self.population.restore()
        invalidate_all()
        for text in reads:
            self.read(text)

    @rule(text=THE_READS)
    def read(self, text):
        """Add a read to the pool; the oldest leaves it."""
        while len(self.pool) >= POOL:
            del self.pool[next(iter(self.pool))]
        self.pool[text] = Known(self.compare(text))

    @rule(text=saves())
    def save(self, text):
        """A save, in autocommit as those that follow."""
        self.write(text)

    @rule(text=moves())
    def move(self, text):
        """A row that comes to meet other conditions."""
        self.write(text)

    @rule(text=inserts())
    def insert(self, text):
        """New rows."""
        self.write(text)

    @rule(text=mass_writes())
    def mass_write(self, text):
        """Updates of many rows."""
        self.write(text)

    @rule(text=deletes())
    def delete(self, text):
        """Deletes, and what they cascade to."""
        self.write(text)

    @rule(text=related_writes())
    def related_write(self, text):
        """Managers of relations, and tables between."""
        self.write(text)

    @rule(text=links())
    def link(self, text):
        """Links of many-to-many relations."""
        self.write(text)

    @rule(text=raw_writes())
    def raw_write(self, text):
        """SQL through cursors."""
        self.write(text)

    @rule(text=odd_writes())
    def odd_write(self, text):
        """What most projects do seldom."""
        self.write(text)

    @rule(block=BLOCKS)
    def transaction(self, block):
        """Writes and reads in a transaction, parts of which may be undone."""
        self.figures.writes += 1
        with suppress(*REFUSALS):
            block.run(self)
        self.compare_all()

    def write(self, text: str) -> None:
        self.figures.writes += 1
        with suppress(*REFUSALS):
            attempt(text)
        self.compare_all()

    def compare_all(self) -> None:
        """Read all of the pool again, first through the cache: so whatever a write left stale shows."""
        for text, known in self.pool.items():
            true = self.compare(text, known.value)
            known.value = true

    def compare(self, text: str, before: Any = UNKNOWN) -> Any:
        """The true value of a read; it is the same through the cache, and once more from what that filled."""
        with counted_reads() as counted:
            found = evaluate(text)
        true = uncached(lambda: evaluate(text))
        hit = bool(counted.hits and not counted.misses)
        self.figures.reads += 1
        self.figures.hits += hit
        if before == true:
            self.figures.unchanged += 1
            self.figures.kept += hit
        self._check(text, found, true)
        if not hit:
            self._check(text, evaluate(text), true)
        return true

    def _check(self, text: str, found: Any, true: Any) -> None:
        if found != true:
            self.figures.stale += 1
            raise AssertionError(f"stale: {text}\n  is {found}\n not {true}")


WRITING = (
    "save",
    "move",
    "insert",
    "mass_write",
    "delete",
    "related_write",
    "link",
    "raw_write",
    "odd_write",
    "transaction",
)


def run(
    figures: Figures,
    examples: int,
    steps: int,
    only: Collection[str] = WRITING,
    reads: st.SearchStrategy[str] = READS,
    **options: Any,
) -> None:
    """Run that many histories from the population that lies in the database, with `only` these rules that write."""
    left_out = {name: None for name in WRITING if name not in only}
    members = {"population": Population(), "figures": figures, "reads": reads, **left_out}
    machine = type("History", (HistoryMachine,), members)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            **{"phases": PHASES, **options},
        ),
    )
