"""One run: rows, two Redis servers, a team, trouble meanwhile, and an audit of the whole cache at the end."""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager

from django.db import connection
from django.test import override_settings

from tests.concurrency import reads, rows
from tests.concurrency.oracle import Bounds
from tests.concurrency.team import working
from tests.property.differential import uncached
from tests.support import servers

SECONDS = float(os.environ.get("TEST_SECONDS", 2))
SEED = int(os.environ.get("TEST_SEED", 0)) or random.randrange(10**9)
# Between two troubles.
INTERVAL = 0.35
# Of writes and of hits: with less a run says little.  A slow machine gets this many seconds more.
ENOUGH = 10
PATIENCE = 60


@contextmanager
def team_of(plan):
    """A team at work, as `team`, on `cache`, a Redis server of its own."""
    with servers.running(*plan.redis_options) as cache, servers.running() as oracle:
        rows.create(plan.width)
        url = f"{cache.url}?socket_timeout=0.5&socket_connect_timeout=0.5"
        with working(plan, url, oracle.url, plan.settings, SEED) as team:
            yield team, cache


def run(plan, trouble=None, enough=lambda team, cache: True):
    """Run `plan`, calling `trouble(team, cache)` now and then; its figures, all of them checked.

    It goes on while too little has happened: writes, hits, and what `enough(team, cache)` asks for.
    """
    with team_of(plan) as (team, cache):
        began = time.monotonic()
        while (passed := time.monotonic() - began) < SECONDS + PATIENCE and not team.oracle.stopped():
            if passed > SECONDS and team.oracle.saw(ENOUGH) and enough(team, cache):
                break
            if trouble is not None:
                trouble(team, cache)
            time.sleep(INTERVAL)
        figures, problems = team.end()
        with override_settings(**team.settings, CACHEOPS_CLIENT_CLASS=None):
            problems += audit(team.oracle, plan.wide)
        figures.update({"killed": team.killed, "evicted": evicted(cache)})
        report(plan, figures)
        figures["enough"] = team.oracle.saw(ENOUGH)
        return figures, problems


def evicted(cache):
    """How many keys the server dropped for want of memory."""
    return cache.client().info("stats")["evicted_keys"]


def audit(oracle, wide):
    """What is wrong now that nobody writes: cached reads equal the database, which has what was acknowledged."""
    bounds = Bounds(oracle.acknowledged(), oracle.begun())
    problems = []
    for read in [each for shape in reads.SHAPES + [reads.wide] * wide for each in shape()]:
        found, true = read.read(), uncached(read.read)
        if found != true:
            problems.append(f"{read.name} is {found}, in the database {true}")
        if problem := read.judge(true, bounds):
            problems.append(f"{read.name} lost what was acknowledged: {problem}")
    return problems


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
