"""Load the directory from the `airportsdata` package."""

import airportsdata
from django.db import transaction

from .countries import country_names
from .models import Airport, City, Country, Region, Tag
from .tagging import RULES, tags_of

BATCH = 1000


def load(limit=None, countries=None, progress=lambda what: None):
    """Add the airports that are not in the database yet, and return their number.

    `countries` is a set of ISO codes to load; `limit` is the number of airports to load, in order of country code and
    ICAO code. None loads all. Airports that are in the database already are not changed.  `progress` is told what is
    being loaded.
    """
    rows = _rows(limit, countries)
    with transaction.atomic():
        present = set(Airport.objects.nocache().values_list("icao", flat=True))
        rows = [row for row in rows if row["icao"] not in present]
        if rows:
            _add(rows, progress)
    return len(rows)


def _rows(limit, countries):
    rows = [
        {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
        for row in airportsdata.load().values()
        if countries is None or row["country"] in countries
    ]
    rows.sort(key=lambda row: (row["country"], row["icao"]))
    return rows[:limit]


def _add(rows, progress):
    progress("countries, regions and cities ...")
    countries = _add_countries({row["country"] for row in rows})
    regions = _add_places(Region, "country_id", {(countries[row["country"]], row["subd"]) for row in rows})
    region_of = [regions[countries[row["country"]], row["subd"]] for row in rows]
    places = [(region, row["city"]) for region, row in zip(region_of, rows, strict=True)]
    cities = _add_places(City, "region_id", set(places))
    progress(f"{len(rows):,} airports ...")
    Airport.objects.bulk_create(
        [_airport(row, countries[row["country"]], cities[place]) for row, place in zip(rows, places, strict=True)],
        batch_size=BATCH,
    )
    progress("tags ...")
    _add_tags(rows)


def _add_countries(codes):
    names = country_names()
    present = set(Country.objects.nocache().values_list("code", flat=True))
    Country.objects.bulk_create(Country(code=code, name=names.get(code, code)) for code in sorted(codes - present))
    return dict(Country.objects.nocache().values_list("code", "pk"))


def _add_places(model, parent, keys):
    """Add the regions or cities that do not exist yet, and return the ids of all by (parent, name)."""
    present = set(model.objects.nocache().values_list(parent, "name"))
    model.objects.bulk_create(
        [model(**{parent: parent_id, "name": name}) for parent_id, name in sorted(keys - present)],
        batch_size=BATCH,
    )
    rows = model.objects.nocache().values_list(parent, "name", "pk")
    return {(parent_id, name): pk for parent_id, name, pk in rows}


def _airport(row, country_id, city_id):
    copied = ("icao", "iata", "name", "elevation", "lat", "lon", "tz")
    return Airport(country_id=country_id, city_id=city_id, **{key: row[key] for key in copied})


def _add_tags(rows):
    present = set(Tag.objects.nocache().values_list("name", flat=True))
    Tag.objects.bulk_create(Tag(name=name) for name in RULES if name not in present)
    tags = dict(Tag.objects.nocache().values_list("name", "pk"))
    airports = dict(Airport.objects.nocache().values_list("icao", "pk"))
    through = Airport.tags.through
    through.objects.bulk_create(
        [through(airport_id=airports[row["icao"]], tag_id=tags[name]) for row in rows for name in tags_of(row)],
        batch_size=BATCH,
    )
