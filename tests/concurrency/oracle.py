"""What was begun and what was acknowledged, in a Redis of its own that the cache knows nothing of."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from tests.concurrency.rows import PERIOD


class Oracle:
    """Versions of lanes: `begin` before a write, `acknowledge` after its commit and its flush."""

    def __init__(self, url):
        self._redis = redis.Redis.from_url(url, decode_responses=True)

    def begin(self, versions):
        self._redis.hset("begun", mapping=versions)

    def acknowledge(self, versions):
        self._redis.hset("acknowledged", mapping=versions)

    def begun(self):
        return _numbers(self._redis.hgetall("begun"))

    def acknowledged(self):
        return _numbers(self._redis.hgetall("acknowledged"))

    def stop(self):
        """Ask all workers to come to an end."""
        self._redis.set("stop", 1)

    def stopped(self):
        return bool(self._redis.exists("stop"))


def _numbers(found):
    return {name: int(version) for name, version in found.items()}


@dataclass
class Bounds:
    """Between these versions a read may find each lane: acknowledged before it, and begun until after it."""

    least: dict[str, int]
    most: dict[str, int]

    def holds(self, lane, version):
        return self.least.get(lane, 0) <= version <= self.most.get(lane, 0)

    def versions(self, lane):
        """Possible versions, each state once."""
        least = self.least.get(lane, 0)
        return range(least, min(self.most.get(lane, 0), least + PERIOD) + 1)

    def __getitem__(self, lane):
        return self.least.get(lane, 0), self.most.get(lane, 0)
