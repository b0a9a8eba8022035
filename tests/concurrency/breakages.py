"""Deliberate defects of the cache; the concurrency tests must find each of them."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import replace

from django.db import DatabaseError

from cacheops_lite.reads import cached_read
from cacheops_lite.store import (
    client,
    fence_release,
    invalidation_script,
    near_leases,
    near_node,
    protocol,
    signatures,
    stored_value,
    write_set,
)
from cacheops_lite.store.client import get_client
from cacheops_lite.writes import before_image, row_locks, unit_of_work


def losing_invalidations():
    """Lose a fifth of the invalidations, with the release of their fences."""
    run_script, send_script = invalidation_script.run_script, fence_release.send_script
    rng, lost = random.Random(0), set()

    def run(name, keys, args, epoch=None):
        if rng.random() < 0.2:
            nonce, token = args[:2]
            lost.add(token)
            return [nonce.encode(), [], [], [b"0"]]
        return run_script(name, keys, args, epoch)

    def send(name, keys, args, on_error=None):
        if args[0] not in lost:
            send_script(name, keys, args, on_error)

    invalidation_script.run_script, fence_release.send_script = run, send


def forgetting_before_images():
    """Invalidate only results that match the after image."""
    dependencies = write_set.Change.dependencies

    def without(self, shape):
        return dependencies(replace(self, old=None), shape)

    write_set.Change.dependencies = without


def creating_versions_late():
    """Create versions after the database was read instead of before."""
    fill = cached_read.CachedRead.fill

    def fill_late(self, storable):
        if self._lookup is not None and cached_read.may_fill(self.entry.databases):
            self._lookup.versions = None
            protocol.create_versions(self._lookup, self.entry.timeout)
        fill(self, storable)

    cached_read.CachedRead.fill = fill_late


def keeping_invalidated_fills():
    """Store values whose versions were deleted during the read, and ignore their versions when they are read."""

    def fill(lookup, payload, timeout, key=None, rows_by_dependency=None, run=None):
        if lookup.versions is not None:
            key = key or lookup.key
            digest, body = bytes(stored_value.DIGEST_LENGTH), stored_value.origin_header(key, lookup) + payload
            get_client().set(key, digest + signatures.sign(key, digest, body) + body, ex=timeout)

    stored_value.digest_of = lambda key, versions: bytes(stored_value.DIGEST_LENGTH)
    protocol.fill = fill


def reading_before_images_without_locks():
    """Let another writer change the row between the before-image read and the write."""
    before_image.select_for_update = row_locks.select_for_update = row_locks.uncached


def invalidating_before_the_commit():
    """Invalidate while the transaction is open, so that readers fill again from the old state."""

    def record(self, work, by_hand=False):
        if work:
            unit_of_work.deliver(unit_of_work.split_by_prefix(work))
            # Readers get time to fill, as during a longer transaction.
            time.sleep(0.02)

    unit_of_work.UnitOfWork.record = record


def committing_without_fences():
    """Leave old results valid between a commit and its invalidation, also when another writer of the row is done."""
    unit_of_work.invalidate_and_fence = lambda write_sets, fence: None


def committing_although_redis_is_away():
    """With CACHEOPS_STRICT, commit without a fence."""
    invalidate_and_fence = unit_of_work.invalidate_and_fence

    def fence_if_possible(write_sets, fence):
        with suppress(DatabaseError):
            invalidate_and_fence(write_sets, fence)

    unit_of_work.invalidate_and_fence = fence_if_possible


def filling_from_snapshots():
    """Let reads in REPEATABLE READ fill."""
    cached_read.may_fill = lambda databases: True


def committing_without_waiting_for_leases():
    """Commit although near caches may still answer."""
    near_leases.LeaseWait.wait = lambda self: None


def waiting_for_a_tenth_of_the_lease():
    """Commit while near caches may still answer."""
    wait = near_leases.LeaseWait.wait

    def wait_shortly(self):
        self.seconds /= 10
        wait(self)

    near_leases.LeaseWait.wait = wait_shortly


def registering_no_near_cache():
    """Let writers believe that there are none."""
    near_node.stripped_source = lambda name: "return 1" if name == "register_near" else client.stripped_source(name)
    near_node.NearNode._registered_lease = lambda self, found: 1.0
    near_leases.longest_lease = invalidation_script.longest_lease = lambda: 0.0


def hearing_of_no_change():
    """Let near caches keep what has changed."""
    near_node.NearNode._on_change = lambda self, keys: None


OF_NEAR_CACHES = [
    committing_without_waiting_for_leases,
    waiting_for_a_tenth_of_the_lease,
    registering_no_near_cache,
    hearing_of_no_change,
]
BREAKAGES = [
    losing_invalidations,
    forgetting_before_images,
    creating_versions_late,
    keeping_invalidated_fills,
    reading_before_images_without_locks,
    invalidating_before_the_commit,
    committing_without_fences,
    committing_although_redis_is_away,
    filling_from_snapshots,
]


def install(name):
    next(each for each in [*BREAKAGES, *OF_NEAR_CACHES] if each.__name__ == name)()
