"""The page about faults under load says what the last run of ``make reliability`` found."""

import json

import pytest

from tests.reliability import __main__ as command
from tests.reliability import outcome, report
from tests.reliability.scenarios import SCENARIOS, Scenario


def results():
    return json.loads(command.RESULTS.read_text("utf-8"))


def test_the_tables_are_those_of_the_result():
    assert command.TABLES.read_text("utf-8") == report.tables(results())


def test_each_scenario_was_run_with_and_without_strict():
    """What is added has to be run before the page can speak of it."""
    run = [(row["scenario"], row["strict"]) for row in results()["rows"]]
    assert run == [(each.name, is_strict) for is_strict in (False, True) for each in SCENARIOS]


def test_no_promise_was_broken_in_that_run():
    broken = {row["scenario"]: row["broken"] for row in results()["rows"] if row["broken"]}
    assert not broken


HEALTHY = {
    "strict": False,
    "errors": {},
    **{"stale": 0, "stale_in_the_fault": 0, "stuck": 0, "slowest_read": 0.1, "slowest_write": 0.1},
    "seconds_without_caching": 0.5,
}
BROKEN = {
    "stale": ({"stale": 1}, {}, "stale outside"),
    "stale although strict": ({"strict": True, "stale_in_the_fault": 1}, {"refuses": False}, "all writes are fenced"),
    "stale although fenced": ({"stale_in_the_fault": 1}, {"fences": True}, "all writes are fenced"),
    "stuck": ({"stuck": 1}, {}, "stayed stale"),
    "error of a read": ({"errors": {"ConnectionError of reads": 1}}, {}, "saw ConnectionError"),
    "refused though not strict": ({"errors": {"InvalidationError of writes": 1}}, {}, "saw InvalidationError"),
    "another error than that of the settings": (
        {"errors": {"TimeoutError of reads": 1}},
        {"surfaces": True},
        "saw TimeoutError",
    ),
    "no effect": ({"strict": True}, {}, "the fault had no effect"),
    "slow read": ({"slowest_read": 2.1}, {}, "a read took"),
    "slow write": ({"slowest_write": 2.1}, {}, "a write took"),
    "late": ({"seconds_without_caching": 2.1}, {}, "not cached for 2.1 s"),
    "never": ({"seconds_without_caching": None}, {}, "not cached"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_promise_is_named(case):
    row, options, sentence = BROKEN[case]
    (found,) = outcome.broken_promises(Scenario("fault", None, **options), {**HEALTHY, **row})
    assert sentence in found


KEPT = {
    "nothing to say": ({}, {}),
    "an unfenced write of a writer that is cut off": ({"stale_in_the_fault": 1}, {}),
    "a wrong password surfaces": ({"errors": {"AuthenticationError of reads": 1}}, {"surfaces": True}),
    "a strict write is refused": ({"strict": True, "errors": {"InvalidationError of writes": 1}}, {}),
    "the fence of a killed writer": ({"seconds_without_caching": 29}, {"kills_writers": True}),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_promised_is_no_broken_promise(case):
    row, options = KEPT[case]
    assert not outcome.broken_promises(Scenario("fault", None, **options), {**HEALTHY, **row})


def reports(stale=(), hits=(), longest=()):
    return [
        {
            **{"figures": {"reads": 3, "hits": 2, "writes": 0}, "errors": {}, "last_error": "", "longest": longest},
            **{"stale": stale, "steady_hits": {"product": hits, "category": hits}, "stuck": [], "is_replaced": False},
        }
    ]


def test_a_row_tells_when_reads_were_stale():
    """A read that begins later than 0.5 seconds after healing counts as stale, and so does one before the fault."""
    stale = [(9.9, "before"), (10.1, "during"), (20.4, "being delivered"), (20.6, "after")]
    row = outcome.row(Scenario("fault", None), False, 10, 20, reports(stale))
    assert (row["stale_in_the_fault"], row["stale"], row["last_stale"]) == (2, 2, 0.6)


def test_a_row_tells_when_results_were_cached_again():
    assert (
        outcome.row(Scenario("f", None), False, 10, 20, reports(hits=[19, 21.5, 22]))["seconds_without_caching"] == 1.5
    )
    assert outcome.row(Scenario("f", None), False, 10, 20, reports(hits=[19]))["seconds_without_caching"] is None


def test_a_row_has_the_longest_request_since_the_fault_began():
    """One that was under way when it began counts; one before it does not."""
    longest = [(3.0, 5, "reads"), (0.7, 9.5, "reads"), (0.4, 12, "reads"), (0.2, 12, "writes")]
    row = outcome.row(Scenario("fault", None), False, 10, 20, reports(longest=longest))
    assert (row["slowest_read"], row["slowest_write"]) == (0.7, 0.2)
