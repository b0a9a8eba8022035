"""Near caches never answer with what is older than the last acknowledged write, whatever happens to processes."""

import os
import signal
import time

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.breakages import OF_NEAR_CACHES
from tests.concurrency.plans import Plan
from tests.concurrency.test_variants import MODES, limit_memory, restart, run_without_stale_reads, writers
from tests.support import services

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300 + 3 * runs.SECONDS)]
NEAR = {
    "CACHEOPS": {"*.*": {"ops": "all", "timeout": 600, "near": True}, "shop.unwatched": None},
    "CACHEOPS_NEAR_LEASE": 0.02,
}
# Reads that writers invalidate and that readers repeat often.
FEW = ["gets", "fetches", "days", "counts"]


def near_plan(name, **options):
    options = {
        "lanes": plans.lanes_by_writer(writers()),
        "settings": {**NEAR, **options.pop("settings", {})},
        **options,
    }
    return Plan(f"near, {name}", **options)


def run_near(plan, fault=None, **options):
    if connection.vendor == "mysql" and services.IN_CI and "no faults" not in plan.name:
        pytest.skip("CI runs this on PostgreSQL only")
    enough = options.get("enough", lambda pool, cache: True)
    # On a busy machine leases may expire before they are used, for a while.
    near_enough = lambda pool, cache: pool.oracle.has_near_hits() and enough(pool, cache)
    figures = run_without_stale_reads(plan, fault, **{**options, "enough": near_enough})
    assert figures["near hits"]
    return figures


@pytest.mark.parametrize("mode", MODES)
def test_near_reads_return_all_acknowledged_writes(mode):
    """Writes and reads of every kind."""
    run_near(near_plan(f"no faults, {mode}", settings=MODES[mode]))


def test_delays_between_the_steps_leave_nothing_stale():
    """Other processes run in between."""
    run_near(near_plan("delays", delays=0.02))


def test_two_concurrent_writers_of_one_row_leave_nothing_stale():
    """Each waits for all leases that began before its own fence."""
    if connection.vendor == "sqlite":
        pytest.skip("it has one writer at a time")
    run_near(near_plan("contested rows", **plans.contested(), pause=0.005, delays=0.02))


def test_readers_that_are_stopped_and_continued_leave_nothing_stale():
    """Their leases go on while they are stopped."""

    def stop_and_continue(pool, cache):
        reader = pool.rng.choice([each for each in pool.workers if each.role == "reader"])
        os.kill(reader.pid, signal.SIGSTOP)
        time.sleep(pool.rng.uniform(0, 0.2))
        os.kill(reader.pid, signal.SIGCONT)

    run_near(near_plan("stopped readers"), stop_and_continue)


def test_killed_writers_leave_nothing_stale():
    """Also between the fence and the end of their wait."""
    plan = near_plan("killed writers", delays=0.02, pause=0.005, kills=round(3 + runs.SECONDS), fence_seconds=1)
    figures = run_near(
        plan, lambda pool, cache: pool.kill_one(), enough=lambda pool, cache: pool.killed > 2 or not pool.spare
    )
    assert figures["killed"] > 2


def test_a_redis_that_is_emptied_restarted_or_hangs_leaves_nothing_stale():
    """Connections break, and registrations are lost."""
    faults = [lambda cache: cache.client().flushall(), restart, lambda cache: cache.hang(0.7)]
    turns = iter(range(10**9))

    def fault(pool, cache):
        turn = next(turns)
        if turn % 2:
            faults[turn // 2 % len(faults)](cache)

    settings = {"CACHEOPS_DEGRADE_ON_FAILURE": True}
    run_near(near_plan("damaged Redis", settings=settings, strict=False), fault)


def test_lost_registrations_leave_nothing_stale():
    """A writer that finds none waits for the longest lease."""

    def lose(pool, cache):
        client = cache.client()
        for key in client.scan_iter("*cacheops:r:*"):
            client.delete(key)

    run_near(near_plan("lost registrations"), lose)


def test_with_strict_nothing_is_stale_while_writers_are_cut_off():
    """A write is acknowledged once it is committed."""
    plan = near_plan("strict", cut_off=True, pause=0.005, settings={"CACHEOPS_STRICT": True})
    figures = run_near(plan, runs.cut_off_writers)
    assert figures["failed: InvalidationError"]


def test_a_redis_that_evicts_leaves_nothing_stale():
    """Of any key, registrations among them."""
    options = ("--maxmemory-policy", "allkeys-lru")
    plan = near_plan("eviction", wide=True, width=2000, strict=False, pause=0.1, redis_options=options)
    figures = run_near(plan, limit_memory, enough=lambda pool, cache: runs.evicted(cache) > 100)
    assert figures["evicted"] > 100


@pytest.mark.parametrize("breakage", [each.__name__ for each in OF_NEAR_CACHES])
def test_each_deliberate_defect_causes_stale_reads_that_are_found(breakage):
    if connection.vendor == "mysql" and services.IN_CI:
        pytest.skip("CI runs this on PostgreSQL only")
    # Leases and waits that are long in comparison with the reads.
    settings = {"CACHEOPS_NEAR_LEASE": 0.2}
    plan = near_plan(f"broken: {breakage}", shapes=FEW, settings=settings, breakage=breakage, pause=0.005)
    figures, problems = runs.run(plan, enough=lambda pool, cache: False)
    assert figures["stale"] or problems
