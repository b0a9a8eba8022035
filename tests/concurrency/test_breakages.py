"""The test of the tests of concurrency: a cache that is broken on purpose makes them report stale reads."""

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.breakages import BREAKAGES
from tests.concurrency.plans import Plan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# It ends with the first stale read.
LONGEST = 30
PLANS = {
    "looking_without_marks": {"lanes": plans.contested(2), "pause": 0.002, "delays": 0.01},
    "looking_without_locks": {"lanes": plans.contested(2), "pause": 0.002, "delays": 0.01},
    "filling_from_snapshots": {"readers": 1, "snapshot_readers": 1, "pause": 0.002},
}
NOT_ON_SQLITE = {*PLANS, "flushing_before_the_commit"}


@pytest.mark.parametrize("breakage", [each.__name__ for each in BREAKAGES])
def test_stale_reads_of_a_broken_cache_are_found(breakage):
    """Each invariant that is dropped shows."""
    if connection.vendor == "sqlite":
        if breakage in NOT_ON_SQLITE:
            pytest.skip("its one writer at a time leaves no room for it")
        options = {"lanes": plans.divided(1)}
    else:
        options = PLANS.get(breakage, {})
    plan = Plan(f"broken: {breakage}", **{"delays": 0.02, **options}, breakage=breakage)
    figures, problems = runs.run(plan, seconds=LONGEST)
    assert figures["stale"] or problems
