"""The worker processes of one test: start, kill and replace them, and collect their reports."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager

from tests.concurrency.oracle import Oracle
from tests.support.worker_process import WorkerProcess


class WorkerPool:
    """Worker processes on the parent's database, with a Redis server for the cache and one for the oracle."""

    def __init__(self, plan, cache_url, oracle_url, settings, seed):
        self.plan, self.settings, self.rng = plan, {**settings, "CACHEOPS_REDIS": cache_url}, random.Random(seed)
        self.oracle_url, self.oracle = oracle_url, Oracle(oracle_url)
        self.workers, self.spare, self.killed = [], [], 0
        # Where writers reach Redis, if not where readers do.
        self.writer_url = None

    def start(self, role, **more):
        plan = self.plan
        settings = self.settings
        if role == "writer" and self.writer_url:
            settings = {**settings, "CACHEOPS_REDIS": self.writer_url}
        config = {
            "role": role,
            "settings": settings,
            "oracle": self.oracle_url,
            "seed": self.rng.randrange(10**9),
            "delays": plan.delays if role in plan.delayed else 0,
            "ways": plan.ways,
            "shapes": plan.shapes,
            "breakage": plan.breakage,
            "pause": plan.pause,
            "wide": plan.wide,
            "strict": plan.strict,
            "fence_seconds": plan.fence_seconds,
            "waits": not plan.cut_off,
            "stops": bool(plan.breakage),
            **more,
        }
        worker = WorkerProcess("tests.concurrency.worker", config)
        self.workers.append(worker)
        return worker

    def begin(self):
        """Start all processes, wait until each is ready, and let them begin at once."""
        writers = [self.start("writer") for _ in self.plan.lanes]
        readers = [self.start("reader") for _ in range(self.plan.readers)]
        readers += [self.start("reader", isolation=True) for _ in range(self.plan.snapshot_readers)]
        self.spare = [self.start("writer") for _ in range(self.plan.kills)]
        for worker in self.workers:
            worker.ready()
        for writer, lanes in zip(writers, self.plan.lanes, strict=True):
            writer.begin(lanes)
        for reader in readers:
            reader.begin()

    def kill_one(self):
        """Kill a random writer; a spare one takes over its lanes."""
        if not self.spare:
            return
        victim = self.rng.choice([each for each in self.workers if each.role == "writer" and each.lanes])
        victim.kill()
        self.killed += 1
        self.workers.remove(victim)
        victim.close()
        self.spare.pop().begin(victim.lanes)

    def end(self):
        """Stop all workers; return the sum of their figures, and their problems."""
        self.oracle.stop()
        for worker in self.spare:
            worker.begin()
        figures, problems = Counter(), []
        for worker in self.workers:
            if worker in self.spare:
                continue
            report = worker.report()
            figures.update(report["figures"])
            problems += report["problems"]
        return figures, problems

    def close(self):
        for worker in self.workers:
            worker.close()


@contextmanager
def running_pool(*args, writer_url=None):
    """Yield a running pool and end its processes afterwards."""
    pool = WorkerPool(*args)
    pool.writer_url = writer_url
    try:
        pool.begin()
        yield pool
    finally:
        pool.close()
