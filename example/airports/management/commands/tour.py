"""Shows the cache at work, in measured figures."""

from statistics import median

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from airports.measuring import measure, timed
from airports.models import Airport
from airports.reads import FRENCH, GERMAN, READS, french_airports, german_airports
from airports.server import describe_redis
from cacheops_lite import invalidate_all

CLIMB = 7000


class Command(BaseCommand):
    """Time every read cold and warm, save an airport, and check what fell and what stayed."""

    help = "Show hits, misses and invalidation on the loaded directory. Empties the cache first."

    def handle(self, **options):
        self.problems = []
        self._open()
        measurements = self._compare_times()
        self._stop_on_problems()
        airport = Airport.objects.nocache().get(icao=FRENCH)
        elevation = airport.elevation
        try:
            fallen = self._save_and_reread(airport)
        finally:
            airport.elevation = elevation
            airport.save(update_fields=["elevation"])
        self._check_restored(elevation)
        self._close(measurements, fallen)

    def _open(self):
        try:
            self.stdout.write(describe_redis())
        except redis.RedisError as error:
            raise CommandError(f"Redis does not answer: {error}") from error
        airports = Airport.objects.nocache()
        try:
            total = airports.count()
        except DatabaseError as error:
            raise CommandError(f"{error}: run migrate, then load_airports.") from error
        if airports.filter(icao__in=[FRENCH, GERMAN]).count() < 2:
            raise CommandError(f"{FRENCH} or {GERMAN} is missing: run load_airports.")
        self.stdout.write(f"Database: {total:,} airports.")

    def _compare_times(self):
        self._title(
            "Every read by itself: cold is the first one, from an empty cache; warm is the median\n"
            "of the next ones; 'no cache' the median of the same read through .nocache()."
        )
        self._row("read", "op", "cold", "warm", "no cache", "SQL cold", "SQL warm", "warm is")
        measurements = []
        for read in READS:
            invalidate_all()
            measured = measure(read)
            measurements.append(measured)
            self._row(
                read.name,
                read.op,
                _milliseconds(measured.cold.seconds),
                _milliseconds(measured.warm_seconds),
                _milliseconds(measured.uncached_seconds),
                measured.cold.counts.queries,
                measured.warm_queries,
                "hit" if measured.hit else "MISS",
            )
            self._require(measured.hit, f"{read.name}: a warm read was not a hit.")
            self._require(measured.correct, f"{read.name}: differs from the database.")
        return measurements

    def _save_and_reread(self, airport):
        """Change the airport, show what that did to the cached reads, return those that fell."""
        for read in READS:
            read.run()
            hit = timed(read.run).counts.from_cache
            self._require(hit, f"{read.name}: not in the cache before the save.")
        old = airport.elevation
        airport.elevation += CLIMB
        airport.save()
        self._title(
            f"All of them are cached now. Save {airport}: elevation {old:g} -> {airport.elevation:g} ft. Read again:"
        )
        self._row("read", "op", "cached", "SQL", "equals DB")
        fallen = []
        for read in READS:
            again = timed(read.run)
            kept = again.counts.from_cache
            equal = again.result == read.run_uncached()
            if not kept:
                fallen.append(read)
            self._row(
                read.name,
                read.op,
                "stayed" if kept else "fell",
                again.counts.queries,
                "yes" if equal else "NO",
            )
            self._require(equal, f"{read.name}: stale after the save.")
            if read.compute is french_airports:
                self._require(not kept, f"{read.name}: stayed, though a row of it changed.")
            if read.compute is german_airports:
                self._require(kept, f"{read.name}: fell, though no row of it changed.")
        return fallen

    def _check_restored(self, elevation):
        for read in READS:
            equal = read.run() == read.run_uncached()
            self._require(equal, f"{read.name}: stale after the airport was restored.")
        restored = Airport.objects.nocache().get(icao=FRENCH).elevation
        self._require(restored == elevation, f"{FRENCH} was not restored.")

    def _close(self, measurements, fallen):
        self._stop_on_problems()
        faster = sum(measured.warm_seconds < measured.uncached_seconds for measured in measurements)
        cold = median(measured.cold.seconds for measured in measurements)
        warm = median(measured.warm_seconds for measured in measurements)
        self._title(
            f"{faster} of {len(READS)} reads were faster from the cache than from SQLite in this "
            "very process.\n"
            f"Summary: {len(READS)} reads, all hits when warm ({_milliseconds(cold)} cold, "
            f"{_milliseconds(warm)} warm in the median); a save made {len(fallen)} fall and left "
            f"{len(READS) - len(fallen)}; all equal the database."
        )

    def _stop_on_problems(self):
        if self.problems:
            raise CommandError("The tour failed:\n  " + "\n  ".join(self.problems))

    def _row(self, name, op, *cells):
        self.stdout.write(f"{name:<41}{op:<10}" + "".join(f"{cell:>11}" for cell in cells))

    def _title(self, text):
        self.stdout.write(f"\n{text}")

    def _require(self, condition, problem):
        if not condition:
            self.problems.append(problem)


def _milliseconds(seconds):
    return f"{seconds * 1000:.2f} ms"
