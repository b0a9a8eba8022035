"""Typical reads of the directory. Each can run with the cache and without it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, Max, Prefetch

from .models import Airport, Country, Tag

FRENCH = "LFPG"
GERMAN = "EDDF"

READS: list["Read"] = []


@dataclass(frozen=True)
class Read:
    """A named read. Its result consists of plain values, so that two results can be compared."""

    name: str
    op: str
    compute: Callable[[Callable], Any]

    def run(self):
        """Read through the cache."""
        return self.compute(lambda rows: rows.all())

    def run_uncached(self):
        """Read from the database."""
        return self.compute(lambda rows: rows.all().nocache())


def read(name, op):
    """Add the decorated function to READS.

    The argument of the function is a callable. The function passes each manager or queryset that it reads from to it.
    """

    def register(compute):
        READS.append(Read(name, op, compute))
        return compute

    return register


def _country(source, code):
    return source(Country.objects).get(code=code)


def _in_country(source, code):
    return source(Airport.objects).filter(country=_country(source, code))


@read(f"{FRENCH} by its ICAO code", "get")
def airport_by_icao(source):
    airport = source(Airport.objects).get(icao=FRENCH)
    return airport.name, airport.elevation, airport.views


@read(f"{GERMAN} by primary key", "get")
def airport_by_pk(source):
    pk = source(Airport.objects).values_list("pk", flat=True).get(icao=GERMAN)
    airport = source(Airport.objects).get(pk=pk)
    return airport.name, airport.elevation, airport.views


@read("lowest and highest French airport", "fetch")
def lowest_and_highest(source):
    airports = _in_country(source, "FR").order_by("elevation", "icao")
    return airports.first().icao, airports.last().icao


@read("all countries, with number of airports", "fetch")
def countries(source):
    rows = source(Country.objects).annotate(total=Count("airports"))
    return [(country.code, country.name, country.total) for country in rows]


@read("French airports, with city and region", "fetch")
def french_airports(source):
    return _with_places(_in_country(source, "FR"))


@read("German airports, with city and region", "fetch")
def german_airports(source):
    return _with_places(_in_country(source, "DE"))


def _with_places(airports):
    return [
        (airport.icao, airport.name, airport.elevation, str(airport.city), str(airport.city.region))
        for airport in airports.select_related("city__region")
    ]


@read("50 German airports, with tags", "fetch")
def airports_with_tags(source):
    tags = Prefetch("tags", queryset=source(Tag.objects))
    airports = _in_country(source, "DE").prefetch_related(tags)[:50]
    return [(airport.icao, [tag.name for tag in airport.tags.all()]) for airport in airports]


@read("time zones of France, as values", "fetch")
def time_zones(source):
    zones = _in_country(source, "FR").order_by("tz").values_list("tz", flat=True)
    return list(zones.distinct())


@read("French airports tagged 'high altitude'", "fetch")
def tagged_airports(source):
    airports = _in_country(source, "FR").filter(tags__name="high altitude")
    return [(airport.icao, airport.name) for airport in airports]


@read(f"tags of {GERMAN}", "fetch")
def tags_of_airport(source):
    airport = source(Airport.objects).get(icao=GERMAN)
    return [tag.name for tag in source(airport.tags)]


@read("the ten highest airports", "fetch")
def highest_airports(source):
    airports = source(Airport.objects).order_by("-elevation", "icao")
    return list(airports.values_list("icao", "elevation")[:10])


@read("all tags, with number of airports", "fetch")
def tags(source):
    return list(source(Tag.objects).annotate(total=Count("airports")).values_list("name", "total"))


@read("number of French airports", "count")
def number_of_french_airports(source):
    return _in_country(source, "FR").count()


@read("number of German airports above 2,000 ft", "count")
def number_of_high_german_airports(source):
    return _in_country(source, "DE").filter(elevation__gt=2000).count()


@read("is a French airport above 7,000 ft?", "exists")
def french_airport_above_7000_ft(source):
    return _in_country(source, "FR").filter(elevation__gt=7000).exists()


@read("mean and highest elevation in France", "aggregate")
def elevation_of_france(source):
    return _in_country(source, "FR").aggregate(Avg("elevation"), Max("elevation"))
