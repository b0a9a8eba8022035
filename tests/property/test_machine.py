"""Random histories of the rich schema leave no stale read; with a deliberate defect, the machine finds one."""

import os
from collections import Counter
from dataclasses import replace

import pytest
from django.db import connection
from django.db.models.lookups import LessThanOrEqual
from hypothesis import Phase

from cacheops_lite.inspection import Verdict, value_keys, verify
from cacheops_lite.orm import execute_wrapper
from cacheops_lite.query import compiler, join_tree, query_walk, read_set, row_dependencies, where_predicates
from cacheops_lite.schema import NULL, DerivedCondition, database_views
from cacheops_lite.store import invalidation_script, invalidator, near
from cacheops_lite.store.near_node import NearNode
from cacheops_lite.store.write_set import Change
from cacheops_lite.writes import instance_writes, queryset_writes, unit_of_work
from tests.property import machine
from tests.property.differential import Figures
from tests.property.reads import (
    READS_BY_AN_INNER_TABLE,
    READS_BY_EXCLUSION,
    READS_BY_EXPRESSIONS,
    READS_OF_ABSENCES,
    READS_OF_APPLICATION_SQL,
    READS_OF_VIEWS,
    READS_OF_WHOLE_TABLES,
    READS_WITH_JOINED_COLUMNS,
    reads_by_comparison,
    reads_by_frequent_fields,
)
from tests.support import fast_paths, services
from tests.support.near import near_profiles, settle

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", 40))
STEPS = int(os.environ.get("TEST_HISTORY", 8))

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_random_history_of_the_rich_schema_leaves_a_stale_read(populated, capsys):
    """Each cached read equals the read without the cache, after writes of every kind."""
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


def bring_reads_near(monkeypatch):
    """Read each result until it is near, and let reads find what was asked for; return a list with the near hits."""
    look_up, compare, hits = near.look_up, machine.HistoryMachine.compare, []

    def look_up_settled(key):
        settle()
        found = look_up(key)
        hits.extend([found] if found is not None else [])
        return found

    def compare_thrice(history, text, before=machine.UNKNOWN):
        for _ in range(3):
            before = compare(history, text, before)
        return before

    monkeypatch.setattr(near, "look_up", look_up_settled)
    monkeypatch.setattr(machine.HistoryMachine, "compare", compare_thrice)
    return hits


def test_no_random_history_leaves_a_stale_near_read(populated, store, monkeypatch, capsys):
    """The test above has the same reads with the near cache off."""
    figures = Figures()
    with near_profiles(monkeypatch, store):
        hits = bring_reads_near(monkeypatch)
        machine.run(figures, max(EXAMPLES // 4, 5), STEPS)
    with capsys.disabled():
        print(f"\n{figures}, {len(hits)} near hits")
    assert hits


def test_the_machine_finds_stale_near_reads_if_changes_are_not_heard_of(populated, store, monkeypatch):
    """This shows that the test above can fail."""
    with near_profiles(monkeypatch, store):
        bring_reads_near(monkeypatch)
        monkeypatch.setattr(NearNode, "_on_change", lambda self, keys: None)
        with pytest.raises(AssertionError):
            machine.run(Figures(), 500, STEPS, phases=[Phase.generate], derandomize=True)


def no_saves_of_items(monkeypatch):
    """Do not record saves of one model."""
    saved = instance_writes.record_save

    def broken(instance, *args):
        if instance._meta.model_name != "item":
            saved(instance, *args)

    monkeypatch.setattr(instance_writes, "record_save", broken)


def no_after_images(monkeypatch):
    """Invalidate only results that match the before image."""
    dependencies = Change.dependencies
    monkeypatch.setattr(
        Change, "dependencies", lambda self, shape: dependencies(replace(self, new=self.old or {}), shape)
    )


def no_before_images(monkeypatch):
    """Invalidate only results that match the after image."""
    dependencies = Change.dependencies
    monkeypatch.setattr(
        Change, "dependencies", lambda self, shape: dependencies(replace(self, old=self.new or {}), shape)
    )


def no_statement_guard(monkeypatch):
    """Do not invalidate after statements that no operation scope claims."""
    monkeypatch.setattr(execute_wrapper, "_invalidate_written", lambda *args: None)


def no_bulk_inserts(monkeypatch):
    """Do not record bulk inserts, such as links of a many-to-many relation."""
    monkeypatch.setattr(instance_writes, "record_bulk_create", lambda *args: None)


def no_mass_writes(monkeypatch):
    """Do not record updates and deletes of many rows by one statement."""
    monkeypatch.setattr(queryset_writes, "record_write", lambda *args, **kwargs: None)


def no_joins(monkeypatch):
    """Ignore dependencies on joined tables."""
    dependencies_of = compiler.dependencies_of

    def broken(walk, sql):
        table = walk.query.model._meta.db_table
        return {each for each in dependencies_of(walk, sql) if each.table == table}

    monkeypatch.setattr(*fast_paths.switched("row-level dependencies", False))
    monkeypatch.setattr(compiler, "dependencies_of", broken)


def no_joined_rows(monkeypatch):
    """Ignore row-level dependencies."""
    monkeypatch.setattr(row_dependencies, "_row_tokens", lambda *args: {})


def no_inner_tables(monkeypatch):
    """Treat an inner table of a join that leads to a condition as one that only adds columns."""
    monkeypatch.setattr(
        join_tree.JoinTree, "only_adds_columns", lambda self, alias, origin: alias not in self._aliases_in_conditions
    )


def no_dirtiness(monkeypatch):
    """Cache reads in a transaction that has written."""
    monkeypatch.setattr(unit_of_work.UnitOfWork, "is_dirty", False)
    monkeypatch.setattr(unit_of_work.UnitOfWork, "pins_snapshot", False)


def no_null_rows(monkeypatch):
    """Treat outer joins as inner joins, ignoring their rows of NULLs."""
    monkeypatch.setattr(read_set, "LOUTER", "never")


def no_columns(monkeypatch):
    """Ignore the columns that a query reads outside its conditions."""
    monkeypatch.setattr(read_set, "_columns_read", lambda walk, alias: ())


def no_negation(monkeypatch):
    """Treat negated conditions as not negated."""
    node = where_predicates._node_formula
    monkeypatch.setattr(where_predicates, "_node_formula", lambda each, negated, *args: node(each, False, *args))


def no_edges(monkeypatch):
    """Treat ``<=`` as ``<``, and its negation accordingly."""
    monkeypatch.setitem(where_predicates.ORDER, LessThanOrEqual, ("<", ">"))


def no_null_rows_in_negations(monkeypatch):
    """Treat a negated comparison as one that NULL does not meet, although Django adds that it does."""
    is_met = DerivedCondition.is_met
    monkeypatch.setattr(DerivedCondition, "is_met", lambda self, token: token != NULL and is_met(self, token))


def no_views(monkeypatch):
    """Treat views as tables."""
    monkeypatch.setattr(database_views, "_find_view", lambda table, using: None)


def no_invalidation(monkeypatch):
    """Never invalidate."""
    monkeypatch.setattr(invalidation_script, "_run", lambda *args, **kwargs: [])
    monkeypatch.setattr(invalidator, "release_after_commit", lambda *args: None)


def no_parameters(monkeypatch):
    """Leave the parameters of the SQL out of cache keys."""
    monkeypatch.setattr(compiler, "parameters_text", lambda params: "")


def no_application_sql(monkeypatch):
    """Treat SQL that the application wrote as composed by Django."""
    monkeypatch.setattr(query_walk, "is_composed_by_django", lambda *args: True)


# Each defect, with the rules and perhaps the reads that reveal it.  Other rules invalidate whole tables, which would
# hide the defect for many steps.
DEFECTS = {
    no_saves_of_items: (["save", "move"], reads_by_frequent_fields()),
    no_after_images: (["move"], reads_by_frequent_fields()),
    no_before_images: (["move"], reads_by_frequent_fields()),
    no_statement_guard: (["raw_write", "rare_write"],),
    no_bulk_inserts: (["insert"], reads_by_frequent_fields()),
    no_mass_writes: (["mass_write", "move"],),
    no_joins: (["save", "move"], READS_WITH_JOINED_COLUMNS),
    no_joined_rows: (["save", "move"], READS_WITH_JOINED_COLUMNS),
    no_inner_tables: (["move"], READS_BY_AN_INNER_TABLE),
    no_dirtiness: (["transaction"], READS_OF_WHOLE_TABLES),
    no_null_rows: (["save", "link", "delete"], READS_OF_ABSENCES),
    no_columns: (["save", "move"],),
    no_negation: (["save", "move"], READS_BY_EXCLUSION),
    no_edges: (["move"], reads_by_comparison()),
    no_null_rows_in_negations: (["save", "move"], reads_by_comparison()),
    no_views: (["move"], READS_OF_VIEWS),
    no_invalidation: (["move"],),
    no_parameters: (["move"], READS_BY_EXPRESSIONS),
    no_application_sql: (["save", "move"], READS_OF_APPLICATION_SQL),
}


@pytest.mark.skipif(services.DATABASE != "sqlite", reason="the result does not depend on the database")
@pytest.mark.parametrize("store", ["redis-sets"], indirect=True)
@pytest.mark.parametrize("install_defect", DEFECTS, ids=lambda each: each.__name__)
def test_the_machine_finds_stale_reads_of_each_deliberate_defect(populated, install_defect, monkeypatch):
    install_defect(monkeypatch)
    figures = Figures()
    with pytest.raises(AssertionError, match="stale: "):
        machine.run(figures, 2000, STEPS, *DEFECTS[install_defect], phases=[Phase.generate], derandomize=True)
    assert figures.stale
