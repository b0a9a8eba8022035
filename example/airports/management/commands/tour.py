"""``manage.py tour``: show the cache at work, with measured times."""

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
    """Save an airport and check which cached results that invalidates; then time each read cold and warm."""

    help = "Show hits, misses and invalidations on the loaded directory. Empties the cache first."

    def handle(self, **options):
        self.problems = []
        self._check_setup()
        invalidate_all()
        airport = Airport.objects.nocache().get(icao=FRENCH)
        elevation = airport.elevation
        try:
            invalidated = self._save_and_reread(airport)
        finally:
            airport.elevation = elevation
            airport.save(update_fields=["elevation"])
        self._check_restored(elevation)
        self._stop_on_problems()
        measurements = self._compare_times()
        self._summarize(measurements, invalidated)

    def _check_setup(self):
        try:
            self.stdout.write(describe_redis())
        except redis.RedisError as error:
            raise CommandError(f"Redis does not answer: {error}. Start it, or unset CACHEOPS_REDIS.") from error
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
            "What a read costs. 'cold': the first run, with an empty cache, runs the query and stores its result.\n"
            "'warm': the median of the next runs, from the cache. 'no cache': the median of the same read through "
            ".nocache().\n'SQL': the number of queries."
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
            self._require(measured.correct, f"{read.name}: the result differs from the database.")
        return measurements

    def _save_and_reread(self, airport):
        """Save the airport with another elevation, read again, and return the reads that were invalidated."""
        for read in READS:
            read.run()
            hit = timed(read.run).counts.from_cache
            self._require(hit, f"{read.name}: not in the cache before the save.")
        old = airport.elevation
        airport.elevation += CLIMB
        airport.save()
        self._title(
            f"What a save invalidates. All results are cached; then {airport} is saved with another elevation\n"
            f"({old:g} -> {airport.elevation:g} ft), and everything is read again. 'kept': read from the cache."
        )
        self._row("read", "op", "result", "SQL", "equals DB")
        invalidated = []
        for read in READS:
            again = timed(read.run)
            still_cached = again.counts.from_cache
            equal = again.result == read.run_uncached()
            if not still_cached:
                invalidated.append(read)
            self._row(
                read.name,
                read.op,
                "kept" if still_cached else "invalidated",
                again.counts.queries,
                "yes" if equal else "NO",
            )
            self._require(equal, f"{read.name}: stale after the save.")
            if read.compute is french_airports:
                self._require(not still_cached, f"{read.name}: still cached, although one of its rows changed.")
            if read.compute is german_airports:
                self._require(still_cached, f"{read.name}: invalidated, although none of its rows changed.")
        return invalidated

    def _check_restored(self, elevation):
        for read in READS:
            equal = read.run() == read.run_uncached()
            self._require(equal, f"{read.name}: stale after the airport was restored.")
        restored = Airport.objects.nocache().get(icao=FRENCH).elevation
        self._require(restored == elevation, f"{FRENCH} was not restored.")

    def _summarize(self, measurements, invalidated):
        self._stop_on_problems()
        faster = sum(measured.warm_seconds < measured.uncached_seconds for measured in measurements)
        cold = median(measured.cold.seconds for measured in measurements)
        warm = median(measured.warm_seconds for measured in measurements)
        self._title(
            f"{faster} of {len(READS)} reads were faster from the cache than from SQLite in the same process.\n"
            f"Summary: {len(READS)} reads, all hits when warm ({_milliseconds(cold)} cold, "
            f"{_milliseconds(warm)} warm in the median). One save invalidated {len(invalidated)} of them and kept "
            f"{len(READS) - len(invalidated)}. All equal the database."
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
