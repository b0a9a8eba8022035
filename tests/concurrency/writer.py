"""A writer: it writes new versions of its lanes, and acknowledges them after their commit and their invalidation."""

from __future__ import annotations

import random
import time
from collections import Counter

from django.db import DatabaseError, transaction

from cacheops_lite.store import invalidator
from tests.concurrency import rows, writes
from tests.shop.models import Category, Product

TIMEOUT_SECONDS = 30


class RolledBack(Exception):
    """Raised to roll a transaction back."""


class Writer:
    """Writes until the oracle stops it.  No other process writes its `lanes`."""

    def __init__(self, oracle, lanes, seed, pause, ways=(), waits=True):
        self.oracle, self.lanes, self.pause = oracle, set(lanes), pause
        self.rng = random.Random(seed)
        self.lane_writes, self.row_writes = (
            [way for way in found if not ways or way.__name__ in ways]
            for found in (writes.WRITES_OF_LANES, writes.WRITES_OF_ROWS)
        )
        self.figures, self.waits = Counter(), waits
        self.begun = oracle.begun()

    def run(self):
        steps = (
            [self._change_product] * 6
            + [self._create_or_delete] * 2
            + [self._change_two, self._roll_back, self._rename]
        )
        steps = [step for step in steps if self._has_some(step)]
        while not self.oracle.stopped():
            try:
                self.rng.choice(steps)()
            except DatabaseError as error:
                # A deadlock: the write was neither committed nor acknowledged.
                self.figures["failed"] += 1
                self.figures[f"failed: {type(error).__name__}"] += 1
            time.sleep(self.rng.uniform(0, self.pause))

    def _has_some(self, step):
        if step == self._create_or_delete:
            return bool(self._own(rows.CREATED_AND_DELETED))
        if step == self._change_two:
            return len(self._own([*rows.SHARED, *rows.EXCLUSIVE])) > 1
        if step == self._rename:
            return any(rows.category_lane(pk) in self.lanes for pk in rows.CATEGORIES)
        return bool(self._own([*rows.SHARED, *rows.EXCLUSIVE]))

    def _own(self, pks):
        return [pk for pk in pks if self._letters(pk)]

    def _letters(self, pk):
        return [letter for letter in "ab" if rows.lane(pk, letter) in self.lanes]

    def _next(self, lane):
        return self.begun.get(lane, 0) + 1

    def _write(self, versions, write, *args):
        """Begin `versions`, a map of lanes to versions, call `write(*args)` and acknowledge them."""
        self.begun.update(versions)
        self.oracle.begin(versions)
        write(*args)
        if self.waits:
            wait_for_deliveries()
        self.oracle.acknowledge(versions)
        self.figures["writes"] += 1

    def _next_versions(self, pk):
        """Return new versions of some of the row's lanes, and the new columns."""
        letters = self._letters(pk)
        if len(letters) > 1 and self.rng.random() < 0.5:
            letters = [self.rng.choice(letters)]
        versions = {letter: self._next(rows.lane(pk, letter)) for letter in letters}
        values = {}
        for letter, version in versions.items():
            values.update(rows.columns(letter, version))
        return {rows.lane(pk, letter): version for letter, version in versions.items()}, values

    def _change_product(self):
        pk = self.rng.choice(self._own([*rows.SHARED, *rows.EXCLUSIVE]))
        ways = self.row_writes if len(self._letters(pk)) == 2 else self.lane_writes
        versions, values = self._next_versions(pk)
        self._write(versions, self.rng.choice(ways), pk, values)

    def _change_two(self):
        """Change two rows in one transaction, in the order of their keys, as all writers do."""
        pks = self._own([*rows.SHARED, *rows.EXCLUSIVE])
        turns = {pk: self._next_versions(pk) for pk in sorted(self.rng.sample(pks, 2))}
        versions = {lane: version for found, _ in turns.values() for lane, version in found.items()}

        def write():
            with transaction.atomic():
                for pk, (_, values) in turns.items():
                    self.rng.choice([writes.save_fields, writes.invalidated_update])(pk, values)

        self._write(versions, write)

    def _roll_back(self):
        """Write a version and roll it back.  No read may return it, so it does not count as begun."""
        pk = self.rng.choice(self._own([*rows.SHARED, *rows.EXCLUSIVE]))
        _, values = self._next_versions(pk)
        try:
            with transaction.atomic():
                self.rng.choice(self.lane_writes)(pk, values)
                Product.objects.filter(category=values.get("category_id", 1)).count()
                raise RolledBack
        except RolledBack:
            self.figures["rolled back"] += 1

    def _create_or_delete(self):
        pk = self.rng.choice(self._own(rows.CREATED_AND_DELETED))
        lane = rows.lane(pk, "a")
        there = Product.objects.nocache().filter(pk=pk).exists()
        version = self._next(lane)
        if rows.exists_at(pk, version) == there:
            version += 1
        if there:
            self._write({lane: version}, self.rng.choice(writes.DELETIONS), pk)
        else:
            self._write({lane: version}, self.rng.choice(writes.CREATIONS), pk, version)

    def _rename(self):
        pk = self.rng.choice([pk for pk in rows.CATEGORIES if rows.category_lane(pk) in self.lanes])
        lane = rows.category_lane(pk)
        version = self._next(lane)
        name = rows.category_name(pk, version)

        def save():
            category = Category.objects.nocache().get(pk=pk)
            category.name = name
            category.save()

        def update():
            Category.objects.filter(pk=pk).update(name=name)

        self._write({lane: version}, self.rng.choice([save, update]))


def wait_for_deliveries():
    """Wait until all overdue invalidations are delivered, because a write is acknowledged only then."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while invalidator._overdue or invalidator._in_delivery:
        if time.monotonic() > deadline:
            raise TimeoutError("invalidations are still overdue")
        time.sleep(0.01)
