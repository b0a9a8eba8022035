"""Fills the directory."""

from time import perf_counter

from django.core.management.base import BaseCommand

from airports.loading import load
from airports.models import Airport


class Command(BaseCommand):
    """Load the airports of the world; those already loaded are left alone."""

    help = "Load the airports of the world (from the package airportsdata) that are missing."

    def add_arguments(self, parser):
        parser.add_argument("--limit", type=int, help="take only so many airports, country by country")
        parser.add_argument("--countries", nargs="+", metavar="CODE", help="only these countries, e.g. FR DE")

    def handle(self, *, limit, countries, **options):
        started = perf_counter()
        added = load(limit=limit, countries=countries and {code.upper() for code in countries})
        total = Airport.objects.nocache().count()
        if added:
            seconds = perf_counter() - started
            self.stdout.write(f"Loaded {added:,} airports in {seconds:.1f} s; {total:,} in all.")
        else:
            self.stdout.write(f"Nothing to load: the directory has {total:,} airports.")
