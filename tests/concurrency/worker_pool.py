"""The worker processes of one test: start, kill and replace them, and collect their reports."""

from __future__ import annotations

import json
import random
import select
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

from tests.concurrency.oracle import Oracle
from tests.support.waiting import wait_until

TIMEOUT_SECONDS = 60
ROOT = Path(__file__).parents[2]


class Worker:
    """One process.  Call `ready`, which waits until it has started, then `begin`."""

    def __init__(self, config):
        self.role = config["role"]
        self.lanes, self.session = [], None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-m", "tests.concurrency.worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self.send(config)

    def send(self, config):
        self.process.stdin.write(json.dumps(config) + "\n")
        self.process.stdin.flush()

    def ready(self):
        found, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_SECONDS)
        line = self.process.stdout.readline() if found else ""
        assert line, f"a {self.role} process did not start: {self.errors()}"
        self.session = json.loads(line)["session"]

    def begin(self, lanes=()):
        self.lanes = list(lanes)
        self.send({"lanes": self.lanes})

    def report(self):
        """Wait until the process has ended, and return its figures and problems."""
        output, _ = self.process.communicate(timeout=TIMEOUT_SECONDS)
        assert self.process.returncode == 0, f"a {self.role} failed: {self.errors()}"
        return json.loads(output)

    def kill(self):
        """Kill the process and wait until the database has closed its session, whose last statement may still run."""
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT_SECONDS)
        wait_until_closed(self.session)

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()[-3000:]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._errors.close()


def wait_until_closed(session):
    """Wait until the database has closed a session of a killed process; None has none."""
    assert session is None or wait_until(lambda: not _is_open(session), TIMEOUT_SECONDS), "the session does not end"


def _is_open(session):
    table, key = {
        "postgresql": ("pg_stat_activity", "pid"),
        "mysql": ("information_schema.processlist", "id"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {table} WHERE {key} = %s", [session])
        return cursor.fetchone() is not None


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
            "database": connection.settings_dict["NAME"],
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
        worker = Worker(config)
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
