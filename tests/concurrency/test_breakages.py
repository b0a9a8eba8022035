"""The concurrency tests report stale reads if the cache has a deliberate defect."""

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.breakages import BREAKAGES
from tests.concurrency.plans import Plan
from tests.support import services

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# Reads that writers invalidate and readers fill often.
FEW = ["fetches", "days", "counts"]
PLANS = {
    "creating_versions_late": {"shapes": FEW},
    "invalidating_before_the_commit": {
        "shapes": FEW,
        "ways": ["save_fields_atomic", "save_locked", "save_in_savepoint"],
    },
    "reading_before_images_without_locks": {**plans.contested(["save_fields_atomic"]), "pause": 0.03},
    "committing_without_fences": {**plans.contested(), "pause": 0.005},
    "committing_although_redis_is_away": {"delays": 0, "cut_off": True, "settings": {"CACHEOPS_STRICT": True}},
    "filling_from_snapshots": {"readers": 1, "snapshot_readers": 1, "shapes": FEW},
}
NOT_ON_SQLITE = {
    "reading_before_images_without_locks",
    "invalidating_before_the_commit",
    "committing_without_fences",
    "filling_from_snapshots",
}


@pytest.mark.parametrize("breakage", [each.__name__ for each in BREAKAGES])
def test_each_deliberate_defect_causes_stale_reads_that_are_found(breakage):
    if connection.vendor == "sqlite" and breakage in NOT_ON_SQLITE:
        pytest.skip("SQLite has one writer at a time, so the defect has no effect")
    if connection.vendor == "mysql" and services.IN_CI:
        pytest.skip("CI runs this on PostgreSQL only")
    writers = 1 if connection.vendor == "sqlite" else 2
    options = {"lanes": plans.lanes_by_writer(writers), "delays": 0.02, **PLANS.get(breakage, {})}
    plan = Plan(f"broken: {breakage}", **options, breakage=breakage)
    fault = runs.cut_off_writers if plan.cut_off else None
    # The run ends with the first stale read.
    figures, problems = runs.run(plan, fault, enough=lambda pool, cache: False)
    assert figures["stale"] or problems
