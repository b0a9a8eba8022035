"""The scenarios report a deliberate defect of the cache."""

import pytest

from tests.reliability import outcome, run
from tests.reliability.scenarios import SCENARIOS
from tests.support import services

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
# For each defect a scenario, and what is said about it.  A missing spool shows in some runs only, so it is not here.
REPORTED = {
    "believing_versions_of_other_servers": ("restarted from an old snapshot", "were stale outside of the fault"),
    "pausing_for_long": ("killed", "results were not cached for"),
    "waiting_for_long": ("paused", "read took"),
    "committing_although_redis_is_away": ("writers cut off", "although all writes are fenced"),
}


@pytest.mark.parametrize("breakage", REPORTED)
def test_a_deliberate_defect_is_reported(breakage):
    if services.DATABASE == "sqlite":
        pytest.skip("with its one writer some defects have no effect")
    name, sentence = REPORTED[breakage]
    scenario = next(each for each in SCENARIOS if each.name.startswith(name))
    is_strict = breakage == "committing_although_redis_is_away"
    row = run.run(scenario, run.Lengths(0.2, 1, 1, fence=2), is_strict, breakage)
    assert any(sentence in each for each in outcome.broken_promises(scenario, row)), row
