"""No random history of the rich schema leaves a stale read; the machine finds those of a broken cache."""

import os
from collections import Counter
from dataclasses import replace

import pytest
from django.db import connection
from hypothesis import Phase

from cacheops_lite.inspection import Verdict, value_keys, verify
from cacheops_lite.orm import execute_wrapper
from cacheops_lite.query import compiler, join_tree, query_walk, read_set, row_dependencies, where_predicates
from cacheops_lite.schema import database_views
from cacheops_lite.store import invalidation_script, invalidator
from cacheops_lite.store.write_set import Change
from cacheops_lite.writes import instance_writes, queryset_writes, unit_of_work
from tests.property import machine
from tests.property.differential import Figures
from tests.property.reads import (
    READS_BY_A_TABLE_BETWEEN,
    READS_BY_EXCLUSION,
    READS_BY_EXPRESSIONS,
    READS_OF_OTHER_SQL,
    READS_OF_VIEWS,
    READS_WITH_OTHERS,
    of_moving_rows,
)
from tests.support import services

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", 40))
STEPS = int(os.environ.get("TEST_HISTORY", 8))

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_random_history_of_the_rich_schema_leaves_a_stale_read(populated, capsys):
    """Whatever is written, however, each read that was cached equals what the database says."""
    figures = Figures()
    try:
        machine.run(figures, EXAMPLES, STEPS)
    finally:
        with capsys.disabled():
            print(f"\n{figures}")


def test_no_stored_result_of_a_random_history_differs_from_the_database(populated, monkeypatch):
    """`manage.py cacheops verify` finds none, and can repeat almost all results of queries."""
    verdicts = Counter()

    def verify_all(history):
        if not connection.in_atomic_block:
            verdicts.update(map(verify, value_keys()))

    teardown = machine.HistoryMachine.teardown

    def verify_and_tear_down(history):
        verify_all(history)
        teardown(history)

    monkeypatch.setattr(machine.HistoryMachine, "teardown", verify_and_tear_down)
    machine.run(Figures(), max(EXAMPLES // 4, 5), STEPS)
    assert verdicts[Verdict.SAME] > 10 * verdicts[Verdict.NOT_COMPARABLE], verdicts
    assert not verdicts[Verdict.DIFFERENT]


def no_saves_of_items(monkeypatch):
    """Saves of one model go by unnoticed."""
    saved = instance_writes.record_save

    def broken(instance, *args):
        if instance._meta.model_name != "item":
            saved(instance, *args)

    monkeypatch.setattr(instance_writes, "record_save", broken)


def no_new_images(monkeypatch):
    """Only what a row matched before a write falls."""
    dependencies = Change.dependencies
    monkeypatch.setattr(
        Change, "dependencies", lambda self, shape: dependencies(replace(self, new=self.old or {}), shape)
    )


def no_old_images(monkeypatch):
    """Only what a row matches after a write falls."""
    dependencies = Change.dependencies
    monkeypatch.setattr(
        Change, "dependencies", lambda self, shape: dependencies(replace(self, old=self.new or {}), shape)
    )


def no_guard(monkeypatch):
    """What no signal tells of goes by unnoticed."""
    monkeypatch.setattr(execute_wrapper, "_invalidate_written", lambda *args: None)


def no_bulk_inserts(monkeypatch):
    """Rows that are inserted in bulk, such as links of a many-to-many relation, go by unnoticed."""
    monkeypatch.setattr(instance_writes, "record_bulk_create", lambda *args: None)


def no_mass_writes(monkeypatch):
    """Rows that one statement updates or deletes go by unnoticed."""
    monkeypatch.setattr(queryset_writes, "record_write", lambda *args, **kwargs: None)


def no_joins(monkeypatch):
    """A result rests on one table only."""
    dependencies_of = compiler.dependencies_of

    def broken(walk, sql):
        table = walk.query.model._meta.db_table
        return {each for each in dependencies_of(walk, sql) if each.table == table}

    monkeypatch.setattr(row_dependencies, "ENABLED", False)
    monkeypatch.setattr(compiler, "dependencies_of", broken)


def no_joined_rows(monkeypatch):
    """Rows that only add columns to a result don't count."""
    monkeypatch.setattr(row_dependencies, "_tokens_by_column", lambda *args: {})


def no_tables_between(monkeypatch):
    """A table whose columns lead to a condition is taken for one that only adds columns."""
    monkeypatch.setattr(
        join_tree.JoinTree, "only_adds_columns", lambda self, alias, origin: alias not in self._aliases_in_conditions
    )


def no_dirtiness(monkeypatch):
    """What is read in a transaction that wrote is kept."""
    monkeypatch.setattr(unit_of_work.UnitOfWork, "is_dirty", False)
    monkeypatch.setattr(unit_of_work.UnitOfWork, "pins_snapshot", False)


def no_null_rows(monkeypatch):
    """The null row of an outer join is taken for a row."""
    monkeypatch.setattr(read_set, "LOUTER", "never")


def no_columns(monkeypatch):
    """Only changes of the columns of conditions count."""
    monkeypatch.setattr(read_set, "_columns_read", lambda walk, alias: ())


def no_negation(monkeypatch):
    """What is excluded is taken for what is asked for."""
    node = where_predicates._node_formula
    monkeypatch.setattr(where_predicates, "_node_formula", lambda each, negated, *args: node(each, False, *args))


def no_views(monkeypatch):
    """A view is taken for a table."""
    monkeypatch.setattr(database_views, "_find_view", lambda table, using: None)


def no_invalidation(monkeypatch):
    """Nothing ever falls."""
    monkeypatch.setattr(invalidation_script, "_run", lambda *args, **kwargs: [])
    monkeypatch.setattr(invalidator, "_release_after_commit", lambda *args: None)


def no_parameters(monkeypatch):
    """Results are named by their SQL alone, without its parameters."""
    monkeypatch.setattr(compiler, "parameters_text", lambda params: "")


def no_other_sql(monkeypatch):
    """What SQL of somebody else's reads goes by unnoticed."""
    monkeypatch.setattr(query_walk, "is_composed_by_django", lambda *args: True)


# With the rules, and maybe the reads, that show it: others, which drop whole tables, would hide it for long.
BREAKS = {
    no_saves_of_items: (["save", "move"],),
    no_new_images: (["move"],),
    no_old_images: (["move"],),
    no_guard: (["raw_write", "odd_write"],),
    no_bulk_inserts: (["insert", "link", "related_write"],),
    no_mass_writes: (["mass_write", "move"],),
    no_joins: (["save", "move"],),
    no_joined_rows: (["save", "move"], READS_WITH_OTHERS),
    no_tables_between: (["move"], READS_BY_A_TABLE_BETWEEN),
    no_dirtiness: (["transaction"], of_moving_rows()),
    no_null_rows: (["save", "link", "delete"],),
    no_columns: (["save", "move"],),
    no_negation: (["save", "move"], READS_BY_EXCLUSION),
    no_views: (["move"], READS_OF_VIEWS),
    no_invalidation: (["move"],),
    no_parameters: (["move"], READS_BY_EXPRESSIONS),
    no_other_sql: (["save", "move"], READS_OF_OTHER_SQL),
}


@pytest.mark.skipif(services.DATABASE != "sqlite", reason="what is found does not depend on the database")
@pytest.mark.parametrize("store", ["redis-sets"], indirect=True)
@pytest.mark.parametrize("break_it", BREAKS, ids=lambda each: each.__name__)
def test_the_machine_finds_what_a_broken_cache_leaves_stale(populated, break_it, monkeypatch):
    """A test of the test: each of many ways to be wrong is found."""
    break_it(monkeypatch)
    figures = Figures()
    with pytest.raises(AssertionError, match="stale: "):
        machine.run(figures, 2000, STEPS, *BREAKS[break_it], phases=[Phase.generate], derandomize=True)
    assert figures.stale
