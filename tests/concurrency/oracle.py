"""The versions that writers have begun, acknowledged and settled, in a Redis server that the cache does not use.

A version is *settled* when it is acknowledged and so is every write of the same row that was in progress at that time.
Where fences can be lost, a reader may until then find the state that the other write replaced: the other write may
have been committed first, with its invalidation not yet delivered.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from tests.concurrency.rows import PERIOD, other

# A row has at most two lanes, each with one writer.  ARGV repeats: a lane, its version, the row's other lane.
ACKNOWLEDGE = """
for i = 1, #ARGV, 3 do
    redis.call('hset', 'acknowledged', ARGV[i], ARGV[i + 1])
end
for i = 1, #ARGV, 3 do
    local lane, version, other = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local acknowledged = redis.call('hget', 'acknowledged', other)
    if redis.call('hget', 'begun', other) == acknowledged then
        redis.call('hset', 'settled', lane, version)
    end
    if acknowledged then
        redis.call('hset', 'settled', other, acknowledged)
    end
end
"""


class Oracle:
    """Versions of lanes.  A writer calls `begin` before a write, `acknowledge` after its commit and its delivery."""

    def __init__(self, url):
        self._redis = redis.Redis.from_url(url, decode_responses=True)
        self._acknowledge = self._redis.register_script(ACKNOWLEDGE)

    def begin(self, versions):
        self._redis.hset("begun", mapping=versions)

    def acknowledge(self, versions):
        self._acknowledge(args=[each for lane, version in versions.items() for each in (lane, version, other(lane))])

    def begun(self):
        return _numbers(self._redis.hgetall("begun"))

    def acknowledged(self):
        return _numbers(self._redis.hgetall("acknowledged"))

    def settled(self):
        return _numbers(self._redis.hgetall("settled"))

    def count_hit(self):
        self._redis.incr("hits")

    def count_near_hit(self):
        self._redis.incr("near hits")

    def has_near_hits(self):
        return bool(self._redis.exists("near hits"))

    def has_seen(self, least):
        """Return whether more than `least` writes were acknowledged and more than `least` reads were hits."""
        return int(self._redis.get("hits") or 0) > least and sum(self.acknowledged().values()) > least

    def stop(self):
        """Ask all workers to end."""
        self._redis.set("stop", 1)

    def stopped(self):
        return bool(self._redis.exists("stop"))


def _numbers(found):
    return {name: int(version) for name, version in found.items()}


@dataclass
class Bounds:
    """The versions at which a read may find each lane: from the acknowledged before it to the begun after it."""

    least: dict[str, int]
    most: dict[str, int]

    def include(self, lane, version):
        return self.least.get(lane, 0) <= version <= self.most.get(lane, 0)

    def versions(self, lane):
        """Return possible versions of a lane, each state once."""
        least = self.least.get(lane, 0)
        return range(least, min(self.most.get(lane, 0), least + PERIOD) + 1)

    def __getitem__(self, lane):
        return self.least.get(lane, 0), self.most.get(lane, 0)
