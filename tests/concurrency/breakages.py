"""Deliberate defects of the cache, each of which the tests of concurrency must find."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from cacheops_lite.reads import cached_read
from cacheops_lite.store import invalidation_script, invalidator, protocol, write_set
from cacheops_lite.store.client import get_client
from cacheops_lite.writes import before_image, row_locks, unit_of_work


def losing_invalidations():
    """Now and then what a write drops stays: neither its fence nor its release arrives."""
    run_script, send_script = invalidation_script.run_script, invalidator.send_script
    rng, lost = random.Random(0), set()

    def run(name, keys, args):
        if rng.random() < 0.2:
            nonce, token = args[:2]
            lost.add(token)
            return [nonce.encode(), [], []]
        return run_script(name, keys, args)

    def send(name, keys, args, on_error):
        if args[0] not in lost:
            send_script(name, keys, args, on_error)

    invalidation_script.run_script, invalidator.send_script = run, send


def forgetting_before_images():
    """Only what a row matches after a write falls."""
    dependencies = write_set.Change.dependencies

    def without(self, shape):
        return dependencies(replace(self, old=None), shape)

    write_set.Change.dependencies = without


def creating_versions_late():
    """Versions are created after the read."""
    fill = cached_read.CachedRead.fill

    def fill_late(self, storable):
        if self._lookup is not None and cached_read.may_fill(self.entry.databases):
            self._lookup.versions = None
            protocol.create_versions(self._lookup, self.entry.timeout)
        fill(self, storable)

    cached_read.CachedRead.fill = fill_late


def keeping_dead_fills():
    """A value is kept though a version fell meanwhile, and read without a look at which it carries."""

    def fill(lookup, payload, timeout, key=None, rows_by_dependency=None, run=None):
        if lookup.versions is not None:
            get_client().set(key or lookup.key, bytes(protocol.DIGEST_LENGTH) + payload, ex=timeout)

    protocol._digest = lambda key, versions: bytes(protocol.DIGEST_LENGTH)
    protocol.fill = fill


def looking_without_locks():
    """Others may move the row between look and write."""
    before_image.select_for_update = row_locks.select_for_update = row_locks.uncached


def flushing_before_the_commit():
    """What falls is filled anew from the old state while the transaction is still open."""

    def record(self, work, by_hand=False):
        if work:
            unit_of_work.deliver(unit_of_work.split_by_prefix(work))
            # Give others the time to fill, as a longer transaction would.
            time.sleep(0.02)

    unit_of_work.UnitOfWork.record = record


def committing_without_fences():
    """Between a commit and its flush results of before are found; another writer of the row may return meanwhile."""
    unit_of_work.invalidate_and_fence = lambda write_sets, fence: None


def filling_from_snapshots():
    """Reads in REPEATABLE READ fill."""
    cached_read.may_fill = lambda databases: True


BREAKAGES = [
    losing_invalidations,
    forgetting_before_images,
    creating_versions_late,
    keeping_dead_fills,
    looking_without_locks,
    flushing_before_the_commit,
    committing_without_fences,
    filling_from_snapshots,
]


def install(name):
    next(each for each in BREAKAGES if each.__name__ == name)()
