"""A reader of the load: reads of all kinds, whose results are checked, and two rows that no process writes."""

from __future__ import annotations

import time
from collections import Counter

from cacheops_lite.signals import cache_read
from tests.concurrency import reader
from tests.concurrency.audit import audit
from tests.concurrency.oracle import Bounds
from tests.reliability.load import STEADY
from tests.reliability.requests import Requests
from tests.shop.models import Category, Product

STEADY_MODELS = {"product": Product, "category": Category}
STEADY_SECONDS = 0.01
PAUSE_SECONDS = 0.004


class Reader(reader.Reader):
    """Each read must return what was acknowledged before it began; the steady reads show whether results are cached."""

    def __init__(self, oracle, name, seed):
        super().__init__(oracle, oracle.acknowledged, seed)
        self._name, self._requests = name, Requests()
        self._stale, self._steady_hits = [], {name: [] for name in STEADY}
        self._outcomes, self._steady_from = Counter(), 0.0
        cache_read.connect(self._note)

    def _note(self, hit, **kwargs):
        self._outcomes[hit] += 1

    def read_one(self, least):
        if time.monotonic() > self._steady_from:
            for name in STEADY:
                self._read_steady(name)
            self._steady_from = time.monotonic() + STEADY_SECONDS
            # They took time, in which more was acknowledged.
            least = self.least()
        read, began = self.rng.choice(self.rng.choice(self.shapes)), time.monotonic()
        found, succeeded = self._call(read.read)
        if succeeded and (problem := read.check(found, Bounds(least, self.oracle.begun()))):
            source = "from the cache" if self._was_hit() else "from the database"
            self._stale.append((began, f"{read.name}, {source}: {problem}; found {found}"))
        time.sleep(self.rng.uniform(0, PAUSE_SECONDS))

    def _call(self, read):
        self._outcomes.clear()
        result = self._requests.call("reads", read)
        self._requests.figures["hits"] += self._was_hit()
        return result

    def _was_hit(self):
        return bool(self._outcomes[True] and not self._outcomes[False])

    def _read_steady(self, name):
        self._call(lambda: STEADY_MODELS[name].objects.get(pk=STEADY[name]))
        if self._was_hit():
            self._steady_hits[name].append(time.monotonic())
            self.oracle.note_hit(self._name, name)

    def report(self, compares):
        """Return what became of the reads; with `compares`, also what is stuck: cached, but not as in the database."""
        stuck = audit(self.oracle, wide=False) if compares else []
        return {
            **self._requests.report(),
            "stale": self._stale,
            "steady_hits": self._steady_hits,
            "stuck": stuck,
        }
