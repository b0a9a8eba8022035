"""No reader sees less than what was acknowledged before it read, whatever happens to Redis and to writers."""

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.plans import Plan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300 + 3 * runs.SECONDS)]
MODES = {"sets": {"CACHEOPS_INSIDEOUT": False}, "insideout": {"CACHEOPS_INSIDEOUT": True}}
DEGRADING = {"CACHEOPS_DEGRADE_ON_FAILURE": True}
SMALL = ("--maxmemory", "2500kb", "--maxmemory-policy", "allkeys-lru")


def writers():
    """SQLite has one writer at a time."""
    return 1 if connection.vendor == "sqlite" else 2


def never_stale(plan, trouble=None, **options):
    figures, problems = runs.run(plan, trouble, **options)
    assert not problems, f"TEST_SEED={runs.SEED}: {problems}"
    assert figures["enough"]
    return figures


@pytest.mark.parametrize("mode", MODES)
def test_readers_never_see_less_than_what_was_acknowledged(mode):
    """Writes of every kind, reads of every shape, in both modes of the store."""
    never_stale(Plan(f"plain, {mode}", lanes=plans.divided(writers()), settings=MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
def test_delays_between_the_steps_leave_nothing_stale(mode):
    """Others come between read and fill, look and write, commit and flush."""
    never_stale(Plan(f"delays, {mode}", lanes=plans.divided(writers()), delays=0.02, settings=MODES[mode]))


def test_rows_that_two_writers_move_at_once_leave_nothing_stale():
    """What the state between a look and its update matched falls too."""
    if connection.vendor == "sqlite":
        pytest.skip("it has one writer at a time")
    never_stale(Plan("contested rows", **plans.contested(), pause=0.005, delays=0.02))


def test_killed_writers_leave_nothing_stale():
    """Wherever they were, also between a commit and its flush; who takes over knows nothing of it."""
    plan = Plan(
        "killed writers",
        lanes=plans.divided(writers()),
        delays=0.02,
        pause=0.005,
        kills=round(3 + runs.SECONDS),
        # A killed writer's commit is over as soon as its session is: so that others go on caching soon.
        hold_seconds=1,
    )
    figures = never_stale(
        plan, lambda team, cache: team.kill_one(), enough=lambda team, cache: team.killed > 2 or not team.spare
    )
    assert figures["killed"] > 2


def test_a_redis_that_is_emptied_restarted_or_hangs_leaves_nothing_stale():
    """Reads go on without it; a write counts as acknowledged once its invalidation was delivered."""
    troubles = [lambda cache: cache.client().flushall(), lambda cache: restart(cache), lambda cache: cache.hang(0.7)]
    turns = iter(range(10**9))

    def trouble(team, cache):
        turn = next(turns)
        if turn % 2:
            troubles[turn // 2 % len(troubles)](cache)

    never_stale(Plan("damaged Redis", lanes=plans.divided(writers()), settings=DEGRADING, strict=False), trouble)


def restart(server):
    server.stop()
    server.start()


@pytest.mark.parametrize("mode", MODES)
def test_a_redis_that_evicts_leaves_nothing_stale(mode):
    """Losing any key costs a miss."""
    plan = Plan(
        f"eviction, {mode}", lanes=plans.divided(writers()), wide=True, width=2000, strict=False, settings=MODES[mode]
    )
    plan.redis_options, plan.pause = SMALL, 0.1
    figures = never_stale(plan, enough=lambda team, cache: runs.evicted(cache) > 0)
    assert figures["evicted"] > 0


def test_readers_of_a_pinned_snapshot_never_fill():
    """They may read what is cached; what they read themselves is older than its versions."""
    if connection.vendor == "sqlite":
        pytest.skip("its transactions always pin what they see, and its one writer waits for them")
    figures = never_stale(Plan("snapshots", readers=1, snapshot_readers=1))
    assert figures["fills from snapshots"] == 0
