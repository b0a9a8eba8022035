"""One run: create rows, start two Redis servers and a worker pool, inject faults, and audit the cache at the end."""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager

from django.db import connection
from django.test import override_settings

from tests.concurrency import rows
from tests.concurrency.audit import audit
from tests.concurrency.worker_pool import running_pool
from tests.support import servers
from tests.support.proxy import Proxy

SECONDS = float(os.environ.get("TEST_SECONDS", 2))
SEED = int(os.environ.get("TEST_SEED", 0)) or random.randrange(10**9)
# The pause between two faults.
FAULT_INTERVAL_SECONDS = 0.35
LIMITS = "socket_timeout=0.5&socket_connect_timeout=0.5"
# With fewer writes or hits, a run proves little.  On a slow machine a run may take some seconds more.
MIN_WRITES_AND_HITS = 10
MAX_EXTRA_SECONDS = 60


@contextmanager
def started_pool(plan):
    """Yield a running worker pool and the Redis server of its cache."""
    with servers.running(*plan.redis_options) as cache, servers.running() as oracle:
        rows.create(plan.width)
        url = f"{cache.url}?{LIMITS}"
        with Proxy(cache.port) as proxy:
            writer_url = f"redis://127.0.0.1:{proxy.port}/0?{LIMITS}" if plan.cut_off else None
            with running_pool(plan, url, oracle.url, plan.settings, SEED, writer_url=writer_url) as pool:
                pool.proxy = proxy
                yield pool, cache


def cut_off_writers(pool, cache):
    """Cut the writers off for a moment, cut their connections once, or lose the replies to what they send."""
    kind = pool.rng.randrange(3)
    if kind == 0:
        pool.proxy.cut()
    elif kind == 1:
        pool.proxy.reset()
    else:
        pool.proxy.loses_replies = True
    time.sleep(pool.rng.uniform(0, FAULT_INTERVAL_SECONDS))
    pool.proxy.restore()


def run(plan, fault=None, enough=lambda pool, cache: True):
    """Run `plan`, call `fault(pool, cache)` at intervals, and return the figures and the problems that were found.

    The run continues until there were enough writes and hits and `enough(pool, cache)` is true.
    """
    with started_pool(plan) as (pool, cache):
        began = time.monotonic()
        while (passed := time.monotonic() - began) < SECONDS + MAX_EXTRA_SECONDS and not pool.oracle.stopped():
            if passed > SECONDS and pool.oracle.has_seen(MIN_WRITES_AND_HITS) and enough(pool, cache):
                break
            if fault is not None:
                fault(pool, cache)
            time.sleep(FAULT_INTERVAL_SECONDS)
        pool.proxy.restore()
        figures, problems = pool.end()
        with override_settings(**pool.settings, CACHEOPS_CLIENT_CLASS=None):
            problems += audit(pool.oracle, plan.wide)
        figures.update({"killed": pool.killed, "evicted": evicted(cache)})
        report(plan, figures)
        figures["enough"] = pool.oracle.has_seen(MIN_WRITES_AND_HITS)
        return figures, problems


def evicted(cache):
    """Return how many keys the server evicted because its memory was full."""
    return cache.client().info("stats")["evicted_keys"]


def report(plan, figures):
    share = f"{100 * figures['kept'] // figures['unchanged']} %" if figures["unchanged"] else "-"
    rest = [f", {name} {number}" for name, number in sorted(figures.items()) if name not in MAIN and number]
    print(
        f"\n{connection.vendor}, {plan.name}: {figures['writes']} writes, {figures['reads']} reads, "
        f"{figures['hits']} hits, {share} kept of {figures['unchanged']} unchanged, stale = {figures['stale']}",
        *rest,
        sep="",
        flush=True,
    )


MAIN = {"writes", "reads", "hits", "kept", "unchanged", "stale"}
