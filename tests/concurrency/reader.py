"""A reader: it asks the oracle what is acknowledged, reads through the cache, and checks the result."""

from __future__ import annotations

import random
import time
from collections import Counter

from django.db import connection, transaction

from cacheops_lite.signals import cache_read
from cacheops_lite.store import near, protocol
from tests.concurrency import reads
from tests.concurrency.oracle import Bounds
from tests.shop.models import Category


class Reader:
    """Reads until the oracle stops it.

    `least()` returns the versions that each read must return at least.  With `wide` it also reads many large results;
    with `stops` the first stale result stops all workers.
    """

    def __init__(self, oracle, least, seed, shapes=(), wide=False, stops=False):
        self.oracle, self.least, self.stops = oracle, least, stops
        self.rng = random.Random(seed)
        self.shapes = [shape() for shape in reads.SHAPES if not shapes or shape.__name__ in shapes]
        if wide:
            self.shapes += [reads.wide()] * len(self.shapes)
        self.figures = Counter()
        self.problems = []
        # The last result of each read, and the versions that were acknowledged then.
        self._last = {}
        self._misses = 0
        cache_read.connect(self._count_miss)
        look_up = near.look_up

        def counted(key):
            found = look_up(key)
            if found is not None:
                self.figures["near hits"] += 1
                if self.figures["near hits"] == 1:
                    self.oracle.count_near_hit()
            return found

        near.look_up = counted

    def _count_miss(self, hit, **kwargs):
        self._misses += not hit

    def run(self):
        """Read in autocommit, and sometimes in a transaction if a transaction sees what other sessions commit."""
        while not self.oracle.stopped():
            if connection.vendor != "sqlite" and self.rng.random() < 0.2:
                with transaction.atomic():
                    self.read_one(self.least())
            else:
                self.read_one(self.least())

    def run_on_snapshots(self):
        """Read in transactions with a snapshot, which is older than the versions: none of these reads may fill."""
        fill = protocol.fill

        def counted(*args, **kwargs):
            self.figures["fills from snapshots"] += 1
            return fill(*args, **kwargs)

        protocol.fill = counted
        while not self.oracle.stopped():
            with transaction.atomic():
                least = self.least()
                Category.objects.nocache().count()
                for _ in range(4):
                    time.sleep(self.rng.uniform(0, 0.02))
                    self.read_one(least)

    def read_one(self, least):
        read = self.rng.choice(self.rng.choice(self.shapes))
        self._misses = 0
        found = read.read()
        hit = not self._misses
        bounds = Bounds(least, self.oracle.begun())
        self.figures["reads"] += 1
        if hit:
            self.figures["hits"] += 1
            self.oracle.count_hit()
        self._count_kept(read, found, least, hit)
        if problem := read.check(found, bounds):
            self.figures["stale"] += 1
            source = "from the cache" if hit else "from the database"
            self.problems = [*self.problems, f"{read.name}, {source}: {problem}; found {found}"][:5]
            if self.stops:
                self.oracle.stop()

    def _count_kept(self, read, found, least, hit):
        """Count the results that writes did not change, and those of them that were still hits."""
        before, self._last[read.name] = self._last.get(read.name), (found, least)
        if before is not None and before[0] == found and before[1] != least:
            self.figures["unchanged"] += 1
            self.figures["kept"] += hit
