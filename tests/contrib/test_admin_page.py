"""The page in Django's admin shows what the cache does, and invalidates."""

import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.urls import include, path
from fakeredis import FakeRedis

import cacheops_lite.contrib.admin_page
from cacheops_lite import cached_as
from cacheops_lite.contrib.admin_page import charts, contents
from cacheops_lite.contrib.admin_page import memory as memory_of_redis
from cacheops_lite.contrib.admin_page.admin import CacheAdmin
from cacheops_lite.contrib.admin_page.models import Cache
from cacheops_lite.inspection import hottest_dependencies, value_keys
from cacheops_lite.observe import Reason, counters, decisions, invalidations
from tests.orm.test_admin_hooks import MIDDLEWARE
from tests.shop.models import Category, Label, Product
from tests.support import servers

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(cacheops_lite.contrib.admin_page.__file__).parent
PAGE = "/admin/cacheops_admin/cache/"
EVERYTHING = f"{PAGE}invalidate/"
LABELS = f"{PAGE}invalidate/shop.Label/"
# No keys are read from it, and connections to it are refused at once.
AWAY = {"CACHEOPS_REDIS": {"host": "127.0.0.1", "retry": None}, "CACHEOPS_CLIENT_CLASS": None}

other_site = admin.AdminSite(name="other")
other_site.register(Cache, CacheAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("other/", other_site.urls),
    # The pages of errors link to these.
    path("", include("directory.urls")),
]


@pytest.fixture(autouse=True)
def project(store):
    """The admin is installed, and nothing is counted yet."""
    counters.take()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE, STATIC_URL="/static/"):
        yield
    counters.take()


def client_of(*permissions, is_staff=True):
    """Return a client whose user has these permissions."""
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=is_staff)
    for name in permissions:
        user.user_permissions.add(Permission.objects.get(content_type__app_label="cacheops_admin", codename=name))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def looker():
    return client_of("view_cache")


@pytest.fixture
def invalidator_user():
    """May look and invalidate."""
    return client_of("view_cache", "invalidate_cache")


def page_of(client, url=PAGE):
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


class Cells(HTMLParser):
    """Collects the rows of tables."""

    def __init__(self, page):
        super().__init__()
        self.rows = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


def row_of(page, text):
    """Return the cells of the row that has a cell of this text."""
    return next(row for row in Cells(page).rows if text in row)


def svgs_of(page):
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg class=\"cacheops.*?</svg>", page, re.DOTALL)]


# Permissions


def test_the_anonymous_are_sent_to_the_login():
    for url in (PAGE, EVERYTHING, LABELS):
        for response in (Client().get(url), Client().post(url)):
            assert response.status_code == 302
            assert response.url.startswith("/admin/login/")


def test_customers_with_the_permissions_are_sent_to_the_login():
    client = client_of("view_cache", "invalidate_cache", is_staff=False)
    assert all(client.get(url).status_code == 302 for url in (PAGE, EVERYTHING, LABELS))


def test_staff_without_permission_sees_nothing():
    client = client_of()
    assert all(client.get(url).status_code == 403 for url in (PAGE, EVERYTHING, LABELS))
    assert client.post(EVERYTHING).status_code == 403
    assert PAGE not in page_of(client, "/admin/")


def test_who_may_look_may_not_invalidate(looker):
    Label.objects.count()
    page = page_of(looker)
    assert "invalidate/" not in page
    assert looker.get(EVERYTHING).status_code == looker.post(EVERYTHING).status_code == 403
    assert looker.get(LABELS).status_code == looker.post(LABELS).status_code == 403
    assert list(value_keys())
    assert not LogEntry.objects.exists()


def test_who_may_invalidate_need_not_be_able_to_look():
    client = client_of("invalidate_cache")
    assert client.get(PAGE).status_code == 403
    assert PAGE + '"' not in page_of(client, EVERYTHING)
    assert client.post(EVERYTHING).url == "/admin/"


def test_the_index_of_the_admin_lists_the_page(looker):
    assert f'href="{PAGE}"' in page_of(looker, "/admin/")


def test_other_admin_sites_link_to_themselves(invalidator_user):
    page = page_of(invalidator_user, "/other/cacheops_admin/cache/")
    assert "/other/cacheops_admin/cache/invalidate/shop.Label/" in page
    assert 'href="/admin/' not in page
    response = invalidator_user.post("/other/cacheops_admin/cache/invalidate/shop.Label/")
    assert response.url == "/other/cacheops_admin/cache/"


# What the page shows


def test_the_table_says_what_happened_to_each_model_and_operation(looker):
    Label.objects.create(text="a")
    for _ in range(4):
        Label.objects.count()
    list(Label.objects.nocache())
    page = page_of(looker)
    label, operation, hits, misses, bypasses, rate, _, _, _, reasons, writes, invalidated = row_of(page, "count")
    assert (label, operation, hits, misses, bypasses, rate) == ("shop.Label", "count", "3", "1", "0", "75%")
    assert (reasons, writes, invalidated) == ("not-stored 1", "1", "0")
    operation, hits, misses, bypasses, rate, _, _, _, reasons = row_of(page, "fetch")
    assert (operation, hits, misses, bypasses, rate, reasons) == ("fetch", "0", "0", "1", "", "nocache 1")
    assert 'href="#reason-nocache">nocache</a>' in page
    assert 'id="reason-nocache"' in page
    assert Reason.NOCACHE.text in page


def test_an_invalidation_is_counted_for_its_model(looker):
    list(Label.objects.all())
    Label.objects.create(text="a")
    writes, invalidated = row_of(page_of(looker), "shop.Label")[-2:]
    assert writes == "1"
    assert int(invalidated) > 0


def test_functions_and_joined_models_without_a_profile_are_named(looker):
    @cached_as(Label)
    def total():
        return 1

    total()
    with override_settings(CACHEOPS={"shop.product": {"ops": "all", "timeout": 60}}):
        list(Product.objects.select_related("category"))
    page = page_of(looker)
    assert row_of(page, "call")[0].endswith("total")
    assert "(no profile: shop.Category)" in page


def test_differences_from_the_database_are_shown(looker):
    for kind, number in (("verified", 7), ("differing", 2)):
        counters.add(counters.Counted("shop.Label", "fetch", kind), number)
    row = row_of(page_of(looker), "shop.Label")
    assert row[7:9] == ["7", "2"]


def test_numbers_of_the_charts_are_those_of_what_happened(looker):
    Label.objects.create(text="a")
    for _ in range(4):
        Label.objects.count()
    Label.objects.create(text="b")
    page = page_of(looker)
    rates, drops = svgs_of(page)
    (tooltip,) = [each.text for each in rates.iter("title") if "unknown" not in each.text]
    assert "hit rate 75%, hits 3, misses 1, bypasses " in tooltip
    assert "In all: hit rate 75%, hits 3, misses 1, bypasses " in page
    # At three quarters of the height.
    (line,) = rates.iter("polyline")
    bottom, top = charts.HEIGHT - charts.BOTTOM, charts.TOP
    height = float(line.get("points").split()[0].split(",")[1])
    assert height == pytest.approx(bottom - 0.75 * (bottom - top), abs=0.1)
    total = sum(int(re.search(r"invalidations (\d+)", each.text)[1]) for each in drops.iter("title"))
    assert total > 0
    assert f"writes invalidated {total} dependencies" in page
    assert len([each for each in drops.iter("rect") if each.get("class") == "bar"]) == 1


@pytest.mark.parametrize(("minutes", "points"), [("60", 60), ("360", 72), ("1440", 96), ("nonsense", 60), ("7", 60)])
def test_a_period_can_be_chosen(looker, minutes, points):
    Label.objects.count()
    page = page_of(looker, f"{PAGE}?minutes={minutes}")
    assert all(len(list(svg.iter("title"))) == points for svg in svgs_of(page))
    assert "hits 0, misses 1, bypasses " in page


def test_a_chart_has_a_gap_where_nothing_was_read():
    points = [charts.Point(60 * number, value, "") for number, value in enumerate([1.0, 0.5, None, 0.0, None])]
    svg = ElementTree.fromstring(charts.line_chart("Rate", points, 1.0, "100 %"))
    runs = [each.get("points").split() for each in svg.iter("polyline")]
    assert [len(run) for run in runs] == [2, 2]
    # A single point is a dot.
    assert runs[1][0] == runs[1][1]


@pytest.mark.parametrize(("number", "rounded"), [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (450, 500)])
def test_the_axis_ends_at_a_round_number(number, rounded):
    assert charts.round_up(number) == rounded


def test_texts_in_a_chart_are_escaped():
    point = charts.Point(0, 1.0, "<b>&")
    svg = ElementTree.fromstring(charts.bar_chart('"<i>', [point]))
    assert svg.get("aria-label") == '"<i>'
    assert next(svg.iter("title")).text.endswith("<b>&")


def test_colors_follow_the_themes_of_the_admin(invalidator_user):
    """All are variables of the admin, which has a dark theme as well; the page has no styles of its own."""
    base = (Path(admin.__file__).parent / "static/admin/css/base.css").read_text()
    style = (FOLDER / "static/cacheops_admin/page.css").read_text()
    colors = re.findall(r"(?<![-\w])(?:color|fill|stroke|background|background-color|border-color):\s*([^;]+);", style)
    assert colors
    for color in colors:
        variable = re.fullmatch(r"var\((--[\w-]+)\)", color)
        assert color in ("none", "transparent") or f"{variable[1]}:" in base
    content = page_of(invalidator_user).partition('id="content"')[2]
    assert "style=" not in content
    assert "<style" not in content
    drawn = " ".join(re.findall(r"<svg class=\"cacheops.*?</svg>", content, re.DOTALL))
    assert drawn
    assert not re.search(r'(?:fill|stroke)="', drawn)


def test_the_page_asks_no_other_server(invalidator_user):
    Label.objects.count()
    for url in (PAGE, EVERYTHING):
        page = page_of(invalidator_user, url)
        links = re.findall(r"(?:src|href|action|url)\s*=\s*[\"']([^\"']+)", page)
        assert links
        assert all(link.startswith(("/", "#", "?")) and not link.startswith("//") for link in links)
    assert "url(" not in (FOLDER / "static/cacheops_admin/page.css").read_text()


def test_wide_tables_and_charts_scroll_on_a_phone(looker):
    Label.objects.count()
    content = page_of(looker).partition('id="content"')[2]
    wide = re.findall(r"(\S[^\n]*)\s*(?:<table|<svg class=\"cacheops)", content)
    assert len(wide) >= 4
    assert all('<div class="cacheops-scroll">' in each for each in wide)


# Keys and memory


def read_values():
    Label.objects.create(text="secret")
    list(Label.objects.filter(text="secret"))

    @cached_as(Label)
    def call(argument):
        return argument

    call("secret")


def test_the_largest_results_and_hottest_dependencies_are_shown(looker, store):
    for number in range(5):
        Label.objects.create(text=f"a long label {number}" * 3)
    list(Label.objects.all())
    Label.objects.filter(id=0).count()
    page = page_of(looker)
    rows = [row for row in Cells(page).rows if row and row[-1].startswith("cacheops:v:")]
    assert [(row[0], row[1]) for row in rows] == [("shop.Label", "fetch"), ("shop.Label", "count")]
    if hottest_dependencies(1):
        assert row_of(page, "shop_label: any row")[1:] == ["1", "1"]
        assert row_of(page, "shop_label: rows where id = ?")[1:] == ["1", "1"]
    else:
        assert "With CACHEOPS_INSIDEOUT" in page


def test_dependencies_that_differ_in_values_are_one_line(looker):
    for number in range(3):
        Product.objects.filter(views=number).count()
    if hottest_dependencies(1):
        assert row_of(page_of(looker), "shop_product: rows where views = ?")[1:] == ["3", "1"]


def test_no_values_are_shown(looker):
    read_values()
    page = page_of(looker)
    assert "call" in page
    assert "secret" not in page
    assert "SELECT" not in page


def test_values_are_shown_with_debug(looker):
    read_values()
    with override_settings(DEBUG=True):
        page = page_of(looker)
    assert "SELECT" in page
    assert "secret" in page


def test_the_work_is_bounded_however_much_redis_has(looker, monkeypatch, store):
    """Keys of other programs count, too: they are scanned."""
    for number in range(10):
        Product.objects.filter(views=number).count()
    monkeypatch.setattr(contents, "MAX_VALUES", 3)
    monkeypatch.setattr(contents, "MAX_DEPENDENCIES", 4)
    page = page_of(looker)
    assert len([row for row in Cells(page).rows if row[-1].startswith("cacheops:v:")]) == 3
    if hottest_dependencies(1):
        assert row_of(page, "shop_product: rows where views = ?")[1:] == ["4", "1"]
    monkeypatch.setattr(contents, "MAX_SCANNED", 0)
    assert "No results were found." in page_of(looker)


def test_the_number_of_models_and_functions_is_bounded(looker, monkeypatch):
    monkeypatch.setattr(contents, "MAX_ROWS", 1)
    Label.objects.count(), Label.objects.count(), Category.objects.count()
    page = page_of(looker)
    assert "These are the 1 with the most reads and writes, of " in page
    assert "shop.Category" not in page.partition("Largest results")[0].partition("Models and functions")[2]


def test_memory_and_what_its_policy_means_are_shown(looker, separate_store):
    if isinstance(separate_store, FakeRedis):
        assert "Redis does not tell how much memory it uses." in page_of(looker)
        return
    separate_store.config_set("maxmemory", 0)
    assert "no limit of its memory" in page_of(looker)
    separate_store.config_set("maxmemory", 100 * 1024 * 1024)
    for policy, words in (("noeviction", "refuses writes"), ("allkeys-lru", "used longest ago")):
        separate_store.config_set("maxmemory-policy", policy)
        page = page_of(looker)
        assert f"maxmemory-policy {policy}" in page
        assert words in page
        assert re.search(r"used\s+of\s+100\.0\sMB", page)


@pytest.mark.parametrize(
    "policy",
    [
        *("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm"),
        *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "volatile-lrm"),
    ],
)
def test_each_policy_has_a_sentence(policy):
    assert memory_of_redis._sentence(1, policy).startswith("When the memory is full, Redis ")


# Invalidation


def test_nothing_is_invalidated_before_it_is_confirmed(invalidator_user):
    Label.objects.count()
    page = page_of(invalidator_user, LABELS)
    assert "<strong>shop.Label</strong>" in page
    assert '<form method="post">' in page
    assert "<strong>everything</strong>" in page_of(invalidator_user, EVERYTHING)
    assert list(value_keys())
    assert not LogEntry.objects.exists()


def test_invalidation_needs_a_csrf_token(invalidator_user):
    client = Client(enforce_csrf_checks=True)
    client.cookies = invalidator_user.cookies
    Label.objects.count()
    assert client.post(LABELS).status_code == 403
    assert list(value_keys())
    token = re.search(r'<form method="post"><input [^>]*value="(\w+)"', page_of(client, LABELS))[1]
    assert client.post(LABELS, {"csrfmiddlewaretoken": token}).status_code == 302


def test_one_model_is_invalidated_and_others_are_not(invalidator_user, is_hit, caplog):
    Label.objects.count(), Category.objects.count()
    with caplog.at_level(logging.INFO, "cacheops_lite"):
        page = invalidator_user.post(LABELS, follow=True).content.decode()
    assert "Invalidated shop.Label." in page
    assert is_hit(Category.objects.count)
    assert not is_hit(Label.objects.count)
    user = User.objects.get()
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.object_repr, entry.change_message) == (user, "shop.Label", "Invalidated shop.Label.")
    assert f"Invalidated shop.Label in the admin, asked for by user {user.pk}" in caplog.text
    assert "shop.Label" in page_of(invalidator_user, "/admin/")


def test_everything_is_invalidated(invalidator_user, is_hit):
    Label.objects.count(), Category.objects.count()
    page = invalidator_user.post(EVERYTHING, follow=True).content.decode()
    assert "Invalidated everything." in page
    assert not list(value_keys())
    # The statistics stay.
    assert "shop.Category" in page
    assert LogEntry.objects.get().object_repr == "everything"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_model_is_invalidated_under_the_prefix_of_each_database(invalidator_user, is_hit):
    with override_settings(CACHEOPS_PREFIX=lambda query: f"{query.dbs[0]}:" if query.dbs else ""):
        read = Label.objects.using("other").count
        read()
        invalidator_user.post(LABELS)
        assert not is_hit(read)


def test_an_unknown_model_is_not_found(invalidator_user):
    for name in ("shop.Nothing", "shop", "nothing.Label", "a.b.c"):
        assert invalidator_user.get(f"{PAGE}invalidate/{name}/").status_code == 404
        assert invalidator_user.post(f"{PAGE}invalidate/{name}/").status_code == 404


def test_invalidation_is_sent_at_once_where_requests_are_transactions(invalidator_user, is_hit, monkeypatch):
    Label.objects.count()
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    page = invalidator_user.post(LABELS, follow=True).content.decode()
    assert "Invalidated shop.Label." in page
    assert not is_hit(Label.objects.count)


# Redis away, and the cache switched off


@pytest.fixture
def away():
    with override_settings(**{**AWAY, "CACHEOPS_REDIS": {**AWAY["CACHEOPS_REDIS"], "port": servers.free_port()}}):
        yield


@pytest.mark.parametrize("degrades", [False, True])
def test_the_page_says_that_redis_is_away(invalidator_user, away, degrades):
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades):
        page = page_of(invalidator_user)
        assert "Redis can&#x27;t be reached (ConnectionError)" in page or "Redis can't be reached" in page
        assert LABELS in page
        page_of(invalidator_user, EVERYTHING)


@pytest.mark.parametrize("profiles", [{}, {"admin.*": {"ops": "all"}}])
@pytest.mark.parametrize("url", [LABELS, EVERYTHING])
@pytest.mark.parametrize("degrades", [False, True])
def test_invalidation_says_that_redis_is_away(invalidator_user, away, degrades, url, profiles):
    """It never reports a success then.  That a user tried is logged, even where the log is cached itself."""
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades, CACHEOPS={"shop.*": {"ops": "all"}, **profiles}):
        page = invalidator_user.post(url, follow=True).content.decode()
        assert "is not invalidated yet" in page
        assert "Invalidated" not in page
        (entry,) = LogEntry.objects.nocache()
    assert entry.change_message.startswith("Tried to invalidate ")


def test_the_page_says_that_the_cache_is_off(invalidator_user):
    Label.objects.count()
    with override_settings(CACHEOPS_ENABLED=False):
        assert "CACHEOPS_ENABLED is off: all reads come from the database" in page_of(invalidator_user)
        for url, name in ((LABELS, "shop.Label"), (EVERYTHING, "everything")):
            page = invalidator_user.post(url, follow=True).content.decode()
            assert f"CACHEOPS_ENABLED is off, so {name} was not invalidated." in page
    assert list(value_keys())
    assert not LogEntry.objects.exists()


def test_the_page_says_that_nothing_is_counted(looker):
    with override_settings(CACHEOPS_STATS=False):
        assert "CACHEOPS_STATS is off: reads and writes are not counted." in page_of(looker)


def test_the_page_does_not_offer_to_invalidate_itself(invalidator_user):
    """Its model has no rows."""
    with override_settings(CACHEOPS={"*.*": {"ops": "all", "timeout": 60}}):
        page = page_of(invalidator_user)
    assert "/invalidate/shop.Label/" in page
    assert "/invalidate/cacheops_admin" not in page


def test_the_page_observes_nothing(looker):
    page_of(looker)
    assert not decisions.is_observed()
    assert not invalidations.is_observed()
