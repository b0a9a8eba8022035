"""Each read returns all writes acknowledged before it, even if Redis fails or writers are killed."""

import pytest
from django.db import connection

from tests.concurrency import plans, runs
from tests.concurrency.plans import Plan
from tests.conftest import MODES, STORES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300 + 3 * runs.SECONDS)]
MODES = {name: mode for name, mode in MODES.items() if any(store.endswith(f"-{name}") for store in STORES)}
DEGRADING = {"CACHEOPS_DEGRADE_ON_FAILURE": True}


def writers():
    """Return the number of writers: SQLite has one at a time."""
    return 1 if connection.vendor == "sqlite" else 2


def run_without_stale_reads(plan, fault=None, **options):
    figures, problems = runs.run(plan, fault, **options)
    assert not problems, f"TEST_SEED={runs.SEED}: {problems}"
    assert figures["enough"]
    return figures


@pytest.mark.parametrize("mode", MODES)
def test_reads_return_all_acknowledged_writes(mode):
    """Writes and reads of every kind run in both modes of the store."""
    run_without_stale_reads(Plan(f"no faults, {mode}", lanes=plans.lanes_by_writer(writers()), settings=MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
def test_delays_between_the_steps_leave_nothing_stale(mode):
    """Other processes run between read and fill, before-image read and write, commit and invalidation."""
    run_without_stale_reads(
        Plan(f"delays, {mode}", lanes=plans.lanes_by_writer(writers()), delays=0.02, settings=MODES[mode])
    )


def test_two_concurrent_writers_of_one_row_leave_nothing_stale():
    """A write also invalidates results that matched the row between its before-image read and its update."""
    if connection.vendor == "sqlite":
        pytest.skip("it has one writer at a time")
    run_without_stale_reads(Plan("contested rows", **plans.contested(), pause=0.005, delays=0.02))


def test_killed_writers_leave_nothing_stale():
    """Writers are killed at random moments, also between a commit and its invalidation. The writer that takes over does
    not know what its predecessor wrote.
    """
    plan = Plan(
        "killed writers",
        lanes=plans.lanes_by_writer(writers()),
        delays=0.02,
        pause=0.005,
        kills=round(3 + runs.SECONDS),
        # No commit of a killed writer is in progress once its session is closed, so its fences may expire early.
        fence_seconds=1,
    )
    figures = run_without_stale_reads(
        plan, lambda pool, cache: pool.kill_one(), enough=lambda pool, cache: pool.killed > 2 or not pool.spare
    )
    assert figures["killed"] > 2


def test_a_redis_that_is_emptied_restarted_or_hangs_leaves_nothing_stale():
    """Reads continue without Redis; a write is acknowledged after its invalidation was delivered."""
    faults = [lambda cache: cache.client().flushall(), lambda cache: restart(cache), lambda cache: cache.hang(0.7)]
    turns = iter(range(10**9))

    def fault(pool, cache):
        turn = next(turns)
        if turn % 2:
            faults[turn // 2 % len(faults)](cache)

    run_without_stale_reads(
        Plan("damaged Redis", lanes=plans.lanes_by_writer(writers()), settings=DEGRADING, strict=False), fault
    )


def restart(server):
    server.stop()
    server.start()


@pytest.mark.parametrize("mode", MODES)
def test_with_strict_nothing_is_stale_while_writers_are_cut_off(mode):
    """Readers reach Redis all the time. A write is acknowledged once it is committed; the others were rolled back."""
    settings = {**MODES[mode], "CACHEOPS_STRICT": True}
    plan = Plan(f"strict, {mode}", lanes=plans.lanes_by_writer(writers()), cut_off=True, pause=0.005, settings=settings)
    figures = run_without_stale_reads(plan, runs.cut_off_writers)
    assert figures["failed: InvalidationError"]


# The buffers of clients count as well.  If they alone took all of it, no key would be left to evict, and Redis would
# refuse commands.
BYTES_FOR_BUFFERS = 300_000


def limit_memory(pool, cache):
    """Let the server have little more memory than it uses once there were some writes and hits."""
    client = cache.client()
    if client.info("memory")["maxmemory"] == 0 and pool.oracle.has_seen(runs.MIN_WRITES_AND_HITS):
        client.config_set("maxmemory", client.info("memory")["used_memory"] + BYTES_FOR_BUFFERS)


@pytest.mark.parametrize("mode", MODES)
def test_a_redis_that_evicts_leaves_nothing_stale(mode):
    """The loss of any key costs a miss only."""
    plan = Plan(
        f"eviction, {mode}",
        lanes=plans.lanes_by_writer(writers()),
        wide=True,
        width=2000,
        strict=False,
        pause=0.1,
        settings=MODES[mode],
        redis_options=("--maxmemory-policy", "allkeys-lru"),
    )
    figures = run_without_stale_reads(plan, limit_memory, enough=lambda pool, cache: runs.evicted(cache) > 100)
    assert figures["evicted"] > 100


def test_readers_with_a_snapshot_never_fill():
    """They may hit cached results; rows that they read themselves are older than the versions."""
    if connection.vendor == "sqlite":
        pytest.skip("all its transactions have a snapshot, and its one writer waits for them")
    figures = run_without_stale_reads(Plan("snapshots", readers=1, snapshot_readers=1))
    assert figures["fills from snapshots"] == 0
