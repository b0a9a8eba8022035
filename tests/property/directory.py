"""Random reads and writes of the example project, on its real data."""

from __future__ import annotations

import random

from airports.models import Airport, City, Country, Tag
from airports.reads import READS
from django.db.models import Avg, Count, Max

COUNTRIES = ("FR", "DE", "LU", "IS")


def rounded(found):
    """Round floats, because their sum depends on the order of rows, which PostgreSQL's writes and autovacuum change."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def reads(rng: random.Random):
    """Return lists, details, counts and aggregates of random countries, airports and tags."""
    airport = any_airport(rng)
    country = airport.country
    tag = rng.choice(list(Tag.objects.nocache()))
    tz = airport.tz
    there = Airport.objects.filter(country=country.pk)
    return [
        lambda: [(a.icao, a.name, a.elevation) for a in there],
        lambda: list(there.values_list("icao", "views")[:20]),
        lambda: there.count(),
        lambda: there.filter(tz=tz).count(),
        lambda: there.filter(iata="").exists(),
        lambda: rounded(there.aggregate(Max("elevation"), Avg("lat"), n=Count("city"))),
        lambda: [(a.icao, a.city.name, a.city.region.name) for a in there.select_related("city__region")[:30]],
        lambda: [(a.icao, [t.name for t in a.tags.all()]) for a in there.prefetch_related("tags")[:30]],
        lambda: list(there.filter(tags=tag.pk).values_list("icao", flat=True)),
        lambda: [a.icao for a in Airport.objects.filter(tags__name=tag.name, country__code=country.code)],
        lambda: vars_of(Airport.objects.filter(icao=airport.icao).first()),
        lambda: vars_of(Airport.objects.get(pk=airport.pk)),
        lambda: Airport.objects.get(pk=airport.pk).city.region.country.code,
        lambda: [(c.code, c.total) for c in Country.objects.annotate(total=Count("airports"))],
        lambda: [(t.name, t.total) for t in Tag.objects.annotate(total=Count("airports"))],
        lambda: sorted(Airport.objects.filter(city=airport.city_id).values_list("icao", flat=True)),
        lambda: [a.icao for a in there.order_by("-elevation", "icao")[:5]],
        lambda: [a.icao for a in there.exclude(tz=tz).filter(elevation__gt=1000)],
        *(each.run for each in READS),
    ]


def any_airport(rng: random.Random) -> Airport:
    """Return one of the first airports of a random country, or of all countries if that one has none."""
    airports = Airport.objects.nocache()
    there = list(airports.filter(country__code=rng.choice(COUNTRIES)).order_by("pk")[:40])
    return rng.choice(there or list(airports.order_by("pk")[:40]))


def vars_of(airport):
    return airport and {key: value for key, value in vars(airport).items() if key != "_state"}


def write(rng: random.Random) -> None:
    """Write an airport, or sometimes its city, country or tags."""
    airport = any_airport(rng)
    step = rng.choice([edit, edit, edit, visit, move, tag, rename_city, rename_country, add_and_delete])
    step(rng, airport)


def edit(rng, airport):
    airport.elevation += rng.choice([-10, 0, 10])
    airport.tz = rng.choice(["Europe/Paris", "Europe/Berlin"])
    airport.save()


def visit(rng, airport):
    airport.views += 1
    airport.save(update_fields=["views"])


def move(rng, airport):
    city = rng.choice(list(City.objects.nocache().select_related("region")[:50]))
    airport.city, airport.country_id = city, city.region.country_id
    airport.save()


def tag(rng, airport):
    tag = rng.choice(list(Tag.objects.nocache()))
    rng.choice([airport.tags.add, airport.tags.remove])(tag)


def rename_city(rng, airport):
    airport.city.name += "x"
    airport.city.save()


def rename_country(rng, airport):
    airport.country.name = airport.country.name[::-1]
    airport.country.save()


def add_and_delete(rng, airport):
    icao = f"{rng.randrange(10**4):04}"
    found = Airport.objects.nocache().filter(icao=icao).first()
    if found is not None:
        found.delete()
    else:
        airport.pk, airport.icao = None, icao
        airport.save()
