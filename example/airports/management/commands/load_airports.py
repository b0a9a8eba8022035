"""``manage.py load_airports``."""

from time import perf_counter

from django.core.management.base import BaseCommand

from airports.loading import load
from airports.models import Airport


class Command(BaseCommand):
    """Load the airports of the world that are not loaded yet."""

    help = "Load the airports of the world that are not loaded yet, from the package airportsdata."

    def add_arguments(self, parser):
        parser.add_argument("--limit", type=int, help="load at most this many airports, in order of country")
        parser.add_argument("--countries", nargs="+", metavar="CODE", help="load only these countries, e.g. FR DE")

    def handle(self, *, limit, countries, **options):
        started = perf_counter()
        added = load(limit=limit, countries=countries and {code.upper() for code in countries}, progress=self._say)
        total = Airport.objects.nocache().count()
        if added:
            seconds = perf_counter() - started
            self.stdout.write(f"Loaded {added:,} airports in {seconds:.1f} s; {total:,} in all.")
        else:
            self.stdout.write(f"Nothing to load: the directory has {total:,} airports.")

    def _say(self, what):
        self.stdout.write(f"Loading {what}")
        self.stdout.flush()
