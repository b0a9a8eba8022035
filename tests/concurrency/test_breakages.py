"""The test of the tests of concurrency: a cache that is broken on purpose makes them report stale reads."""

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.breakages import BREAKAGES
from tests.concurrency.plans import Plan
from tests.support import services

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# Reads that writers drop and readers fill again and again.
FEW = ["fetches", "days", "counts"]
PLANS = {
    "creating_versions_late": {"shapes": FEW},
    "flushing_before_the_commit": {"shapes": FEW, "ways": ["save_fields_atomic", "save_locked", "save_in_savepoint"]},
    "looking_without_locks": {**plans.contested(["save_fields_atomic"]), "pause": 0.03},
    "committing_without_fences": {**plans.contested(), "pause": 0.005},
    "filling_from_snapshots": {"readers": 1, "snapshot_readers": 1, "shapes": FEW},
}
NOT_ON_SQLITE = {
    "looking_without_locks",
    "flushing_before_the_commit",
    "committing_without_fences",
    "filling_from_snapshots",
}


@pytest.mark.parametrize("breakage", [each.__name__ for each in BREAKAGES])
def test_stale_reads_of_a_broken_cache_are_found(breakage):
    """Each invariant that is dropped shows."""
    if connection.vendor == "sqlite" and breakage in NOT_ON_SQLITE:
        pytest.skip("its one writer at a time leaves no room for it")
    if connection.vendor == "mysql" and services.IN_CI:
        pytest.skip("in CI once is enough, on PostgreSQL")
    writers = 1 if connection.vendor == "sqlite" else 2
    options = {"lanes": plans.divided(writers), "delays": 0.02, **PLANS.get(breakage, {})}
    plan = Plan(f"broken: {breakage}", **options, breakage=breakage)
    # It ends with the first stale read.
    figures, problems = runs.run(plan, enough=lambda team, cache: False)
    assert figures["stale"] or problems
