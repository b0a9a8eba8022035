"""A browser drives the example, the panel of Django Debug Toolbar and the admin page: all show what happened.

``make e2e`` runs it, and puts its screenshots into the documentation.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support import servers, services

sync_api = pytest.importorskip("playwright.sync_api")

MANAGE = Path(__file__).parents[2] / "example" / "manage.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
# Where screenshots go; none are made without it.
SCREENSHOTS = os.environ.get("E2E_SCREENSHOTS")
COUNTRIES = ("FR", "LU")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The URL of the example, on a server process, a database and a Redis server of its own."""
    if CHROMIUM is None:
        (pytest.fail if services.IN_CI else pytest.skip)("no Chromium: apt-get install chromium")
    port = servers.free_port()
    folder = tmp_path_factory.mktemp("site")
    with servers.running() as server:
        environment = {
            **os.environ,
            "EXAMPLE_DB": str(folder / "db.sqlite3"),
            "EXAMPLE_DEBUG": "1",
            "CACHEOPS_REDIS": server.url,
            "DJANGO_SETTINGS_MODULE": "directory.settings",
            "DJANGO_SUPERUSER_PASSWORD": "admin",
        }

        def manage(*arguments):
            subprocess.run([sys.executable, MANAGE, *arguments], env=environment, check=True, capture_output=True)

        manage("migrate", "-v0")
        manage("load_airports", "--countries", *COUNTRIES)
        manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@localhost")
        process = subprocess.Popen(
            [sys.executable, MANAGE, "runserver", "--noreload", str(port)],
            env=environment,
            stdout=(folder / "server.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process)
            yield url
        finally:
            process.terminate()
            process.wait()


def wait_for(url, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(url, timeout=10).read()
        except OSError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        (pytest.fail if services.IN_CI else pytest.skip)("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(params=VIEWPORTS)
def device(request):
    return request.param


@pytest.fixture
def page(browser, device, site):
    """A page of a new visitor, whose errors fail the test."""
    context = browser.new_context(viewport=VIEWPORTS[device], base_url=site)
    context.set_default_timeout(20_000)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # A request that is still under way when the test goes to another page is aborted.
    page.on(
        "requestfailed",
        lambda request: "ABORTED" in request.failure or errors.append(f"{request.url}: {request.failure}"),
    )
    outside = []
    page.on("request", lambda request: request.url.startswith((site, "data:")) or outside.append(request.url))
    yield page
    context.close()
    assert not outside
    assert not errors


# Those that the documentation shows.
SHOWN = {
    *("example-hits-desktop", "example-edit-desktop", "example-edit-phone", "toolbar-invalidated-desktop"),
    *("admin-page-desktop", "admin-page-dark-phone"),
}


def shoot(page, name, device, full=True):
    if SCREENSHOTS and f"{name}-{device}" in SHOWN:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SCREENSHOTS}/{name}-{device}.png", full_page=full)


def bar(page):
    """Return the hits and misses that the bar shows, which agree with its summary and its list of reads."""
    section = page.locator("section.bar")
    hits, misses = int(section.get_attribute("data-hits")), int(section.get_attribute("data-misses"))
    assert section.locator("b.hits").inner_text() == f"{hits} hit{'' if hits == 1 else 's'}"
    assert section.locator("b.misses").inner_text() == f"{misses} miss{'' if misses == 1 else 'es'}"
    assert section.locator("tr.hit").count() == hits
    assert section.locator("tr.miss").count() == misses
    return hits, misses


def fits(page):
    """Return whether nothing but tables is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")


def hide_toolbar(page):
    """Close the toolbar, so that it covers nothing."""
    if page.locator("#djHideToolBarButton").is_visible():
        page.locator("#djHideToolBarButton").click()


def open_page(page, path):
    page.goto(path)
    hide_toolbar(page)
    return bar(page)


def clear(page):
    """Start with an empty cache."""
    page.goto("/")
    hide_toolbar(page)
    page.get_by_role("button", name="everything").click()
    hide_toolbar(page)


def test_lists_miss_then_hit_and_an_edit_invalidates_only_its_country(page, device):
    clear(page)
    for code in COUNTRIES:
        _, misses = open_page(page, f"/countries/{code}/")
        assert misses > 0
        hits, misses = open_page(page, f"/countries/{code}/")
        assert hits > 0
        assert misses == 0
    shoot(page, "example-hits", device, full=False)
    assert fits(page)

    page.goto("/airports/LFPG/edit/")
    hide_toolbar(page)
    elevation = page.get_by_label("elevation")
    elevation.fill(str(float(elevation.input_value()) + 1))
    page.get_by_role("button", name="Save").click()
    hide_toolbar(page)
    writes = page.locator("section.bar .writes")
    assert "save of airports.Airport" in writes.inner_text()
    invalidated = writes.locator("ul.invalidated").all_inner_texts()
    assert any("/countries/FR/" in each for each in invalidated)
    assert not any("/countries/LU/" in each for each in invalidated)
    writes.locator("summary").first.click()
    assert "airports_airport: rows where" in writes.inner_text()
    shoot(page, "example-edit", device, full=False)

    assert open_page(page, "/countries/LU/")[1] == 0
    assert open_page(page, "/countries/FR/")[1] > 0
    assert page.locator("section.bar .writes").count() == 0


def test_a_mass_update_invalidates_its_country_and_keeps_the_neighbour(page, device):
    clear(page)
    for code in COUNTRIES:
        open_page(page, f"/countries/{code}/")
    page.goto("/countries/FR/update/")
    hide_toolbar(page)
    page.get_by_label("time zone").fill({"desktop": "Europe/Berlin", "phone": "Europe/Vienna"}[device])
    page.get_by_role("button", name="Save").click()
    hide_toolbar(page)
    writes = page.locator("section.bar .writes")
    assert "invalidated_update of airports.Airport" in writes.inner_text()
    assert "/countries/FR/" in writes.inner_text()
    assert "/countries/LU/" not in writes.inner_text()
    assert open_page(page, "/countries/LU/")[1] == 0


def open_panel(page):
    """Show the panel of the cache, and return it."""
    handle = page.locator("#djShowToolBarButton")
    if handle.is_visible():
        handle.click()
    page.locator("#djdt-CacheopsPanel a").first.click()
    panel = page.locator("#CacheopsPanel")
    panel.get_by_role("heading", name="Reads", exact=True).wait_for()
    return panel


def test_the_panel_shows_what_the_bar_shows_and_why_a_read_missed(page, device):
    clear(page)
    open_page(page, "/countries/LU/")
    hits, misses = open_page(page, "/countries/LU/")
    panel = open_panel(page)
    totals = panel.locator("table").first.locator("tbody td").all_inner_texts()
    # The toolbar wraps the bar's middleware, so that it sees the same reads.
    assert [int(totals[1]), int(totals[2])] == [hits, misses]
    shoot(page, "toolbar-panel", device, full=False)
    panel.locator(".djToggleSwitch").first.click()
    panel.get_by_role("button", name="Run again uncached and compare").first.click()
    page.get_by_text("same", exact=False).first.wait_for()
    shoot(page, "toolbar-compare", device, full=False)

    page.goto("/airports/ELLX/edit/")
    hide_toolbar(page)
    elevation = page.get_by_label("elevation")
    elevation.fill(str(float(elevation.input_value()) + 1))
    page.get_by_role("button", name="Save").click()
    open_page(page, "/countries/LU/")
    panel = open_panel(page)
    assert re.search(r"invalidated by\s+save of airports.Airport", panel.inner_text())
    shoot(page, "toolbar-invalidated", device, full=False)


def log_in(page):
    page.goto("/admin/")
    hide_toolbar(page)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()


def admin_counts(page):
    """Return (hits, misses) of fetches of airports that the admin page shows."""
    page.goto("/admin/cacheops_admin/cache/")
    hide_toolbar(page)
    for row in page.locator(".cacheops table").first.locator("tbody").all():
        if row.inner_text().startswith("airports.Airport"):
            for line in row.locator("tr").all():
                cells = line.locator("td").all_inner_texts()
                if cells[0] == "fetch":
                    return int(cells[1]), int(cells[2])
    return 0, 0


def test_the_admin_page_counts_what_happened_and_invalidates_after_a_confirmation(page, device):
    log_in(page)
    clear(page)
    hits, misses = admin_counts(page)
    open_page(page, "/countries/FR/")
    open_page(page, "/countries/FR/")
    after = admin_counts(page)
    fetches = page.goto("/countries/FR/") and page.locator("section.bar tr.hit", has_text="fetch of airports.Airport")
    assert after == (hits + fetches.count(), misses + fetches.count())
    page.goto("/admin/cacheops_admin/cache/")
    hide_toolbar(page)
    assert page.locator("svg").count() >= 2
    assert fits(page)
    shoot(page, "admin-page", device)
    page.emulate_media(color_scheme="dark")
    shoot(page, "admin-page-dark", device)
    page.emulate_media(color_scheme="light")

    page.get_by_role("link", name="airports.Airport", exact=True).last.click()
    hide_toolbar(page)
    assert "Invalidate all cached results that depend on airports.Airport" in page.inner_text("body")
    assert open_page(page, "/countries/FR/")[1] == 0, "looking at the confirmation invalidates nothing"
    page.goto("/admin/cacheops_admin/cache/invalidate/airports.Airport/")
    hide_toolbar(page)
    page.get_by_role("button", name="Yes, invalidate airports.Airport").click()
    assert open_page(page, "/countries/FR/")[1] > 0
