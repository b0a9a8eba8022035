"""Each fault under load: nothing stale, nothing stuck, no error, no request that waits long, and caching goes on."""

import json
import os
from pathlib import Path

import pytest

from tests.reliability import outcome, run
from tests.reliability.scenarios import SCENARIOS

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
# ``make reliability`` runs longer, and keeps what was found.
IS_LONG = bool(os.environ.get("TEST_RELIABILITY_RESULTS"))
# Where other tests keep all processors busy, it takes longer until caching goes on.
WITHOUT_CACHING_SECONDS = outcome.WITHOUT_CACHING_SECONDS if IS_LONG else 10.0
LENGTHS = run.Lengths(2, 3, 3) if IS_LONG else run.Lengths(0.2, 0.7, 0.5, fence=2)


def check(scenario, is_strict):
    row = run.run(scenario, LENGTHS, is_strict)
    examples = row.pop("examples")
    broken = outcome.broken_promises(scenario, row, WITHOUT_CACHING_SECONDS)
    if IS_LONG:
        with Path(os.environ["TEST_RELIABILITY_RESULTS"]).open("a", encoding="utf-8") as file:
            print(json.dumps({**row, "broken": broken}), file=file)
    assert not broken, (row, examples)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_fault_breaks_no_promise(scenario):
    check(scenario, is_strict=False)


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if IS_LONG or each.runs_strict], ids=lambda s: s.name)
def test_with_strict_no_read_is_stale_during_the_fault_either(scenario):
    check(scenario, is_strict=True)
