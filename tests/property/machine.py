"""A state machine: random writes in random transactions.  Each read must equal the same read without the cache."""

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
    rare_writes,
    raw_writes,
    related_writes,
    saves,
)

POOL = 10
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("TEST_SHRINK", "1") == "1" else [Phase.generate]
# This write runs in `on_commit`.
WRITE_ON_COMMIT = "Tag.objects.filter(pk=1).update(word='late')"
UNKNOWN = object()
# Errors of writes and reads that a database or Django refuses: missing rows, duplicate keys, protected rows.
REFUSALS = (
    *(DatabaseError, ObjectDoesNotExist, MultipleObjectsReturned, FieldError),
    *(ValueError, TypeError, AttributeError, KeyError, LookupError),
    # Methods of the driver raise its own errors.
    connection.Database.Error,
)


@dataclass
class Known:
    """The true value of a read of the pool when it was last read."""

    value: Any


class Undo(Exception):
    """Raised to roll a block back."""


@dataclass
class Atomic:
    """A transaction or, within another one, a savepoint."""

    steps: list[Any]
    end: str = "commit"

    def run(self, machine: HistoryMachine) -> None:
        try:
            with transaction.atomic():
                if "on_commit" in self.end:
                    transaction.on_commit(lambda: execute(WRITE_ON_COMMIT))
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
    """A savepoint that is set and ended explicitly."""

    steps: list[Any]
    is_rolled_back: bool

    def run(self, machine: HistoryMachine) -> None:
        mark = transaction.savepoint()
        for step in self.steps:
            step.run(machine)
        (transaction.savepoint_rollback if self.is_rolled_back else transaction.savepoint_commit)(mark)


@dataclass
class Write:
    text: str
    # With its own savepoint, a failure leaves the transaction usable.
    in_savepoint: bool = True

    def run(self, machine: HistoryMachine) -> None:
        if not self.in_savepoint:
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
    """Run all reads of the pool."""

    def run(self, machine: HistoryMachine) -> None:
        compare_if_usable(machine, machine.pool)


def compare_if_usable(machine: HistoryMachine, texts: Iterable[str]) -> None:
    """Compare the reads, unless the transaction is broken: then Django refuses reads, but the cache may have hits."""
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
    """Return the result of a read as plain values, or the type of its error."""
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            return plain(eval(_compiled(text, "eval"), vars(namespace)))
    except REFUSALS as error:
        return type(error)


@lru_cache(maxsize=4096)
def _compiled(text: str, mode: str) -> CodeType:
    return compile(text, f"<{text}>", mode)


def attempt(text: str) -> None:
    """Execute a write.  If it is refused, check that it is refused without the cache too."""
    try:
        execute(text)
    except REFUSALS as error:
        # Databases may check constraints at the commit, which the second attempt does not reach.  COPY raises the
        # driver's own IntegrityError.
        is_integrity_error = any(each.__name__ == IntegrityError.__name__ for each in type(error).__mro__)
        if connection.in_atomic_block or is_integrity_error:
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


# The reads of the machine that runs.
THE_READS = st.runner().flatmap(lambda machine: machine.reads)


class HistoryMachine(RuleBasedStateMachine):
    """Each step writes, or adds a read to the pool.  After each write, all reads of the pool are compared."""

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
        """Add a read to the pool, and remove the oldest ones if it is full."""
        while len(self.pool) >= POOL:
            del self.pool[next(iter(self.pool))]
        self.pool[text] = Known(self.compare(text))

    @rule(text=saves())
    def save(self, text):
        """Save one row, in autocommit like the writes below."""
        self.write(text)

    @rule(text=moves())
    def move(self, text):
        """Change which conditions a row matches."""
        self.write(text)

    @rule(text=inserts())
    def insert(self, text):
        """Insert rows."""
        self.write(text)

    @rule(text=mass_writes())
    def mass_write(self, text):
        """Update many rows."""
        self.write(text)

    @rule(text=deletes())
    def delete(self, text):
        """Delete rows, with cascades."""
        self.write(text)

    @rule(text=related_writes())
    def related_write(self, text):
        """Write by related managers, or to the tables of many-to-many relations."""
        self.write(text)

    @rule(text=links())
    def link(self, text):
        """Change links of many-to-many relations."""
        self.write(text)

    @rule(text=raw_writes())
    def raw_write(self, text):
        """Write by SQL through cursors."""
        self.write(text)

    @rule(text=rare_writes())
    def rare_write(self, text):
        """Write in a way that few projects use."""
        self.write(text)

    @rule(block=BLOCKS)
    def transaction(self, block):
        """Write and read in a transaction; the transaction or a part of it may be rolled back."""
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
        """Compare all reads of the pool, through the cache first, so that a stale result is found."""
        for text, known in self.pool.items():
            true = self.compare(text, known.value)
            known.value = true

    def compare(self, text: str, before: Any = UNKNOWN) -> Any:
        """Return the true value of a read, and check that the cached read, and a second one after a miss, equal it."""
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


WRITE_RULES = (
    "save",
    "move",
    "insert",
    "mass_write",
    "delete",
    "related_write",
    "link",
    "raw_write",
    "rare_write",
    "transaction",
)


def run(
    figures: Figures,
    examples: int,
    steps: int,
    only: Collection[str] = WRITE_RULES,
    reads: st.SearchStrategy[str] = READS,
    **options: Any,
) -> None:
    """Run random histories that start from the rows now in the database.

    `examples` is the number of histories, `steps` the length of each, `only` the rules that write.
    """
    left_out = {name: None for name in WRITE_RULES if name not in only}
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
