"""A writer: brings its lanes to new versions and acknowledges them once they are committed and flushed."""

from __future__ import annotations

import random
import time
from collections import Counter

from django.db import DatabaseError, transaction

from cacheops_lite.store import invalidator
from tests.concurrency import rows, writes
from tests.shop.models import Category, Product

PATIENCE = 30


class Undone(Exception):
    """Takes a transaction back."""


class Writer:
    """`lanes` are its own: nobody else writes them."""

    def __init__(self, oracle, lanes, seed, pause, ways=()):
        self.oracle, self.lanes, self.pause = oracle, set(lanes), pause
        self.rng = random.Random(seed)
        self.of_lanes, self.of_rows = (
            [way for way in found if not ways or way.__name__ in ways] for found in (writes.OF_LANES, writes.OF_ROWS)
        )
        self.figures = Counter()
        self.begun = oracle.begun()

    def run(self):
        steps = [self._change_product] * 6 + [self._flicker] * 2 + [self._change_two, self._take_back, self._rename]
        steps = [step for step in steps if self._has_some(step)]
        while not self.oracle.stopped():
            try:
                self.rng.choice(steps)()
            except DatabaseError as error:
                # A deadlock: nothing of it is committed, and it was not acknowledged.
                self.figures["failed"] += 1
                self.figures[f"failed: {type(error).__name__}"] += 1
            time.sleep(self.rng.uniform(0, self.pause))

    def _has_some(self, step):
        if step == self._flicker:
            return bool(self._own(rows.FLICKERING))
        if step == self._change_two:
            return len(self._own([*rows.SHARED, *rows.SOLE])) > 1
        if step == self._rename:
            return any(rows.category_lane(pk) in self.lanes for pk in rows.CATEGORIES)
        return bool(self._own([*rows.SHARED, *rows.SOLE]))

    def _own(self, pks):
        return [pk for pk in pks if self._letters(pk)]

    def _letters(self, pk):
        return [letter for letter in "ab" if rows.lane(pk, letter) in self.lanes]

    def _next(self, lane):
        return self.begun.get(lane, 0) + 1

    def _write(self, versions, write, *args):
        """Write versions by lane, and acknowledge them."""
        self.begun.update(versions)
        self.oracle.begin(versions)
        write(*args)
        wait_for_outbox()
        self.oracle.acknowledge(versions)
        self.figures["writes"] += 1

    def _turn(self, pk):
        """New versions of some of the row's lanes, and its new columns."""
        letters = self._letters(pk)
        if len(letters) > 1 and self.rng.random() < 0.5:
            letters = [self.rng.choice(letters)]
        versions = {letter: self._next(rows.lane(pk, letter)) for letter in letters}
        values = {}
        for letter, version in versions.items():
            values.update(rows.columns(letter, version))
        return {rows.lane(pk, letter): version for letter, version in versions.items()}, values

    def _change_product(self):
        pk = self.rng.choice(self._own([*rows.SHARED, *rows.SOLE]))
        ways = self.of_rows if len(self._letters(pk)) == 2 else self.of_lanes
        versions, values = self._turn(pk)
        self._write(versions, self.rng.choice(ways), pk, values)

    def _change_two(self):
        """Two rows in one transaction, which locks them in the order that all others do."""
        pks = self._own([*rows.SHARED, *rows.SOLE])
        turns = {pk: self._turn(pk) for pk in sorted(self.rng.sample(pks, 2))}
        versions = {lane: version for found, _ in turns.values() for lane, version in found.items()}

        def write():
            with transaction.atomic():
                for pk, (_, values) in turns.items():
                    self.rng.choice([writes.save_fields, writes.invalidated_update])(pk, values)

        self._write(versions, write)

    def _take_back(self):
        """A version that is never committed; nobody may see it, so it does not count as begun."""
        pk = self.rng.choice(self._own([*rows.SHARED, *rows.SOLE]))
        _, values = self._turn(pk)
        try:
            with transaction.atomic():
                self.rng.choice(self.of_lanes)(pk, values)
                Product.objects.filter(category=values.get("category_id", 1)).count()
                raise Undone
        except Undone:
            self.figures["taken back"] += 1

    def _flicker(self):
        pk = self.rng.choice(self._own(rows.FLICKERING))
        lane = rows.lane(pk, "a")
        there = Product.objects.nocache().filter(pk=pk).exists()
        version = self._next(lane)
        if rows.is_there(pk, version) == there:
            version += 1
        if there:
            self._write({lane: version}, self.rng.choice(writes.GOING), pk)
        else:
            self._write({lane: version}, self.rng.choice(writes.COMING), pk, version)

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


def wait_for_outbox():
    """Until what could not be flushed at once is: only then a write counts."""
    deadline = time.monotonic() + PATIENCE
    while invalidator._overdue or invalidator._in_delivery:
        if time.monotonic() > deadline:
            raise TimeoutError("invalidations are still overdue")
        time.sleep(0.01)
