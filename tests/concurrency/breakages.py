"""Deliberate defects of the cache, each of which the tests of concurrency must find."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from cacheops_lite import changes, looks, outbox, reading, store, transaction
from cacheops_lite.redis import get_client


def losing_invalidations():
    """Now and then what a write drops stays: neither its hold nor its flush arrives."""
    run_script, send_script, rng, lost = outbox.run_script, outbox.send_script, random.Random(0), set()

    def run(name, keys, args):
        if rng.random() < 0.2:
            nonce, token = args[:2]
            lost.add(token)
            return [nonce.encode(), 0]
        return run_script(name, keys, args)

    def send(name, keys, args, on_error):
        if args[0] not in lost:
            send_script(name, keys, args, on_error)

    outbox.run_script, outbox.send_script = run, send


def forgetting_old_images():
    """Only what a row matches after a write falls."""
    stamps = changes.Change.stamps

    def without(self, scheme):
        return stamps(replace(self, old=None), scheme)

    changes.Change.stamps = without


def stamping_late():
    """Stamps are taken after the read."""
    fill = reading.Attempt.fill

    def fill_late(self, storable):
        if self._lookup is not None and reading.may_fill(self.target.databases):
            self._lookup.stamps = None
            store.take_stamps(self._lookup, self.target.timeout)
        fill(self, storable)

    reading.Attempt.fill = fill_late


def keeping_dead_fills():
    """A value is kept though a stamp fell meanwhile, and read without a look at which it carries."""

    def fill(lookup, payload, timeout, key=None, narrowed=None, run=None):
        if lookup.stamps is not None:
            get_client().set(key or lookup.key, bytes(store.DIGEST_LENGTH) + payload, ex=timeout)

    store._digest = lambda key, stamps: bytes(store.DIGEST_LENGTH)
    store.fill = fill


def looking_without_locks():
    """Others may move the row between look and write."""
    looks._locking = looks._reading


def flushing_before_the_commit():
    """What falls is filled anew from the old state while the transaction is still open."""

    def record(self, work, by_hand=False):
        if work:
            transaction.deliver(transaction.by_prefix(work))
            # Give others the time to fill, as a longer transaction would.
            time.sleep(0.02)

    transaction.Recorder.record = record


def committing_without_holds():
    """Between a commit and its flush results of before are found; another writer of the row may return meanwhile."""
    transaction.hold = lambda work_by_prefix, held: None


def filling_from_snapshots():
    """Reads in REPEATABLE READ fill."""
    reading.may_fill = lambda databases: True


BREAKAGES = [
    losing_invalidations,
    forgetting_old_images,
    stamping_late,
    keeping_dead_fills,
    looking_without_locks,
    flushing_before_the_commit,
    committing_without_holds,
    filling_from_snapshots,
]


def install(name):
    next(each for each in BREAKAGES if each.__name__ == name)()
