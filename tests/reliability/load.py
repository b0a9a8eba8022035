"""The load of a scenario: processes that read and write, and an oracle that knows what was acknowledged."""

from __future__ import annotations

import itertools
import random
import time

from django.db import connection

from tests.concurrency import rows
from tests.concurrency.oracle import Oracle
from tests.reliability.processes import LoadProcess
from tests.support.waiting import wait_until

# Rows that no process writes, in a table that writers fence and in one that they do not.
STEADY = {"product": rows.EXCLUSIVE[-1], "category": rows.ROOTS[0]}
READERS = 2
# The longest pauses between two writes, in seconds.  The second writer is idle most of the time, as processes of small
# sites are: what it owes is delivered in the background, and not with its next write.  SQLite has only one at a time.
WRITER_PAUSES = (0.03, 1.0)
WRITES_THAT_MATTER = 10
HITS_SECONDS = 40
QUIET_STEP_SECONDS = 0.02


class LoadOracle(Oracle):
    """An oracle that also knows when each reader last had a hit for each steady read, and stops single processes."""

    def __init__(self, url, name=""):
        super().__init__(url)
        self._name = name

    def note_hit(self, reader, read):
        self._redis.hset("steady", f"{reader} {read}", time.monotonic())

    def hits_since(self, moment):
        """Return how many pairs of a reader and a steady read have had a hit since then."""
        return sum(float(last) > moment for last in self._redis.hgetall("steady").values())

    def stop_one(self, name):
        self._redis.set(f"stop {name}", 1)

    def quiet(self, is_quiet):
        """Let writers begin no write, until they are told otherwise."""
        self._redis.set("quiet", 1) if is_quiet else self._redis.delete("quiet")

    def wait_while_quiet(self):
        while self._redis.exists("quiet") and not self.stopped():
            time.sleep(QUIET_STEP_SECONDS)

    def stopped(self):
        return bool(self._redis.exists("stop", f"stop {self._name}"))


def lanes_of(writer, writers):
    """Return the lanes of a writer.  No row has two writers: these would wait for each other's locks."""
    products = [pk for pk in [*rows.SHARED, *rows.EXCLUSIVE] if pk != STEADY["product"]]
    return [rows.lane(pk, letter) for pk in products if pk % writers == writer for letter in "ab"]


class Load:
    """Readers and writers with the settings of a site; a context manager that ends them."""

    def __init__(self, oracle_url, settings, writer_settings=None, fence_seconds=None, breakage=""):
        self.settings, self._writer_settings = settings, writer_settings or {}
        self._oracle_url, self.oracle = oracle_url, LoadOracle(oracle_url)
        self._fence_seconds, self._breakage = fence_seconds, breakage
        self._numbers, self._rng = itertools.count(), random.Random()
        self.readers, self.writers, self.spare, self._ended = [], [], [], []

    def start(self, role, pause=0.0):
        name = f"{role}{next(self._numbers)}"
        settings = {**self.settings, **(self._writer_settings if role == "writer" else {})}
        return LoadProcess(
            {
                **{"role": role, "name": name, "pause": pause, "settings": settings, "oracle": self._oracle_url},
                **{"seed": self._rng.randrange(10**9)},
                **{"fence_seconds": self._fence_seconds, "breakage": self._breakage},
            }
        )

    def begin(self, spare=0):
        """Start all processes, with `spare` writers that take over from killed ones; return when they work."""
        pauses = WRITER_PAUSES[: 1 if connection.vendor == "sqlite" else None]
        self.writers = [self.start("writer", pause) for pause in pauses]
        self.readers = [self.start("reader") for _ in range(READERS)]
        self.spare = [self.start("writer", WRITER_PAUSES[0]) for _ in range(spare)]
        for worker in self.everything():
            worker.ready()
        for number, writer in enumerate(self.writers):
            writer.begin(lanes_of(number, len(pauses)))
        for reader in self.readers:
            reader.begin()
        assert self.wait_for_hits(0), "readers have no hits"
        assert self.wait_for_writes(), "writers do not write"

    def everything(self):
        return [*self.readers, *self.writers, *self.spare]

    def wait_for_hits(self, moment):
        """Wait until each reader has had a hit for each steady read since `moment`; return whether it has."""
        pairs = READERS * len(STEADY)
        return wait_until(lambda: self.oracle.hits_since(moment) >= pairs, HITS_SECONDS)

    def wait_for_writes(self, more=WRITES_THAT_MATTER):
        """Wait until there were more writes; return whether there were."""
        until = sum(self.oracle.acknowledged().values()) + more
        return wait_until(lambda: sum(self.oracle.acknowledged().values()) >= until)

    def kill_writer(self):
        """Kill the busy writer (SIGKILL); return its rows, which no process writes any more."""
        victim = self.writers.pop(0)
        victim.kill()
        victim.close()
        return victim.lanes

    def replace_writer(self):
        """Kill the busy writer; a spare process takes over its rows."""
        successor = self.spare.pop()
        successor.begin(self.kill_writer())
        self.writers.insert(0, successor)

    def replace_all(self, **settings):
        """Replace each process by one with other settings, as a deploy does."""
        self.settings = {**self.settings, **settings}
        olds = [*self.writers, *self.readers]
        successors = [self.start(old.role, old.pause) for old in olds]
        for successor in successors:
            successor.ready()
        for old, successor in zip(olds, successors, strict=True):
            self.oracle.stop_one(old.name)
            if old.role == "reader":
                old.compare(False)
            self._ended.append({**old.report(), "is_replaced": True})
            old.close()
            successor.begin(old.lanes)
        self.writers = [each for each in successors if each.role == "writer"]
        self.readers = [each for each in successors if each.role == "reader"]

    def end(self):
        """Stop the writers, which deliver what they owe, then let the readers compare; return all reports."""
        self.oracle.stop()
        for writer in self.spare:
            writer.begin()
        reports = [*self._ended, *(worker.report() for worker in [*self.writers, *self.spare])]
        for reader in self.readers:
            reader.compare(True)
        reports += [{**reader.report(), "is_replaced": False} for reader in self.readers]
        return reports

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for worker in self.everything():
            worker.close()
