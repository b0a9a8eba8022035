"""The airports directory: its pages, and the tour that shows hits, misses and invalidation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airports.loading import load
from airports.models import Airport, Country
from django.test import Client

from tests.support import services

MANAGE = Path(__file__).parents[2] / "example" / "manage.py"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def directory(store, settings):
    """Airports of two countries."""
    settings.CACHEOPS = {"airports.*": {"ops": "all", "timeout": 60}}
    load(countries={"FR", "LU"})


def counts(response):
    return {name: int(response[f"X-{name}"]) for name in ("Cache-Hits", "Cache-Misses", "SQL-Queries")}


@pytest.mark.parametrize("path", ["/", "/countries/FR/", "/countries/FR/?page=2", "/airports/LFPG/"])
def test_a_page_reads_from_the_cache_the_second_time(client, path):
    """And says so: no SQL, no miss."""
    cold, warm = client.get(path), client.get(path)
    assert (cold.status_code, warm.status_code) == (200, 200)
    assert counts(cold)["SQL-Queries"] > 0
    assert counts(warm)["SQL-Queries"] == counts(warm)["Cache-Misses"] == 0
    assert counts(warm)["Cache-Hits"] > 0
    assert f"{counts(warm)['Cache-Hits']} hit" in warm.content.decode()
    assert "0 misses" in warm.content.decode()


def form_of(airport):
    data = {name: getattr(airport, name) for name in ("icao", "iata", "name", "elevation", "lat", "lon", "tz")}
    return {**data, "country": airport.country_id, "region": airport.city.region.name, "city": airport.city.name}


def test_an_edit_shows_at_once_and_leaves_other_pages_in_place(client):
    """The airport and its list change, another country's list is still a hit."""
    for path in ("/countries/FR/", "/countries/LU/", "/airports/LFPG/"):
        client.get(path)
    data = form_of(Airport.objects.nocache().get(icao="LFPG"))
    response = client.post("/airports/LFPG/edit/", {**data, "name": "Aéroport d'essai"})
    assert response.status_code == 302
    assert "Aéroport d&#x27;essai" in client.get("/airports/LFPG/").content.decode()
    luxembourg = client.get("/countries/LU/")
    assert counts(luxembourg)["Cache-Misses"] == 0


def test_the_page_after_a_save_tells_what_the_save_invalidated(client):
    """And which page had read it; once, and only to the visitor who saved."""
    for path in ("/countries/FR/", "/countries/LU/", "/airports/LFPG/"):
        client.get(path)
    data = form_of(Airport.objects.nocache().get(icao="LFPG"))
    client.post("/airports/LFPG/edit/", {**data, "elevation": 9999})
    assert "invalidated" not in Client().get("/airports/LFPG/").content.decode()
    page = client.get("/airports/LFPG/").content.decode()
    assert "<strong>save of airports.Airport</strong>" in page
    assert "read by /countries/FR/" in page
    assert "read by /countries/LU/" not in page
    assert "airports_airport: rows where" in page
    assert "invalidated" not in client.get("/airports/LFPG/").content.decode()


def test_countries_are_listed_by_name(client):
    page = client.get("/").content.decode()
    assert page.index("France") < page.index("Luxembourg")
    assert "cacheops_lite" in page


def test_airports_are_added_and_deleted(client):
    """And lists show it."""
    luxembourg = Country.objects.nocache().get(code="LU")
    client.get("/countries/LU/")
    data = {**form_of(Airport.objects.nocache().get(icao="LFPG")), "icao": "ZZZZ", "country": luxembourg.pk}
    assert client.post("/add/", data).status_code == 302
    assert "ZZZZ" in client.get("/countries/LU/").content.decode()
    assert client.get("/airports/ZZZZ/delete/").status_code == 200
    assert client.post("/airports/ZZZZ/delete/").status_code == 302
    # The first page says that it was deleted.
    client.get("/")
    assert "ZZZZ" not in client.get("/countries/LU/").content.decode()
    assert client.get("/airports/ZZZZ/").status_code == 404


def test_a_mass_update_of_a_country_shows_at_once(client):
    """On the pages of its airports, and not on others."""
    client.get("/airports/LFPG/")
    client.get("/countries/LU/")
    assert client.post("/countries/FR/update/", {"tz": "Europe/Berlin"}).status_code == 302
    assert "Europe/Berlin" in client.get("/airports/LFPG/").content.decode()
    assert counts(client.get("/countries/LU/"))["Cache-Misses"] == 0


@pytest.mark.parametrize("what", ["airport", "model", "everything"])
def test_the_button_invalidates_by_hand(client, what):
    """One airport, the model or everything."""
    client.get("/airports/LFPG/")
    assert client.post("/invalidate/", {"what": what, "icao": "LFPG"}).status_code == 302
    assert counts(client.get("/airports/LFPG/"))["Cache-Misses"] > 0


def test_an_invalid_form_says_what_is_wrong_and_changes_nothing(client):
    """With the values that were typed."""
    data = form_of(Airport.objects.nocache().get(icao="LFPG"))
    response = client.post("/airports/LFPG/edit/", {**data, "elevation": "high"})
    assert response.status_code == 200
    assert "Enter a number" in response.content.decode()


@pytest.mark.parametrize("redis", ["embedded", "redis"])
def test_the_tour_shows_hits_and_that_every_reread_equals_the_database(tmp_path, redis):
    """In a process of its own, on either kind of Redis, which its first line names."""
    if redis == "redis" and not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    environment = {key: value for key, value in os.environ.items() if key not in ("CACHEOPS_REDIS",)}
    environment |= {"EXAMPLE_DB": str(tmp_path / "db.sqlite3"), "DJANGO_SETTINGS_MODULE": "directory.settings"}
    if redis == "redis":
        environment["CACHEOPS_REDIS"] = services.REDIS_URL

    def manage(*arguments):
        return subprocess.run(
            [sys.executable, MANAGE, *arguments], env=environment, capture_output=True, text=True, timeout=200
        )

    for arguments in (["migrate", "-v0"], ["load_airports", "--countries", "FR", "DE"]):
        done = manage(*arguments)
        assert done.returncode == 0, done.stderr
    tour = manage("tour")
    assert tour.returncode == 0, tour.stdout + tour.stderr
    first = tour.stdout.splitlines()[0]
    assert ("embedded" in first) == (redis == "embedded")
    assert tour.stdout.index("What a save invalidates") < tour.stdout.index("What a read costs")
    assert re.search(r"German airports.* kept ", tour.stdout)
    assert len(re.findall(r" hit$", tour.stdout, re.MULTILINE)) >= 10
