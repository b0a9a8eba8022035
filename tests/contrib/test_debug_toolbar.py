"""The panel of Django Debug Toolbar shows the reads and writes of a request, and its buttons act on stored values."""

import html
import os
import re
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.checks.registry import registry
from django.db import connection
from django.test import AsyncClient, Client, override_settings

from cacheops_lite import cached_as
from cacheops_lite.inspection import statistics, value_keys
from cacheops_lite.observe import activity, decisions, invalidations
from tests.conftest import run_async
from tests.shop.models import Category, Label, Product, Unwatched

pytestmark = pytest.mark.django_db(transaction=True)

PANEL = "cacheops_lite.contrib.debug_toolbar.CacheopsPanel"
HISTORY = "debug_toolbar.panels.history.HistoryPanel"


@pytest.fixture(scope="module", autouse=True)
def toolbar(django_db_setup):
    """Install the toolbar with this panel, only for this module: its system checks would disturb others."""
    checks = set(registry.registered_checks)
    apps = [*settings.INSTALLED_APPS, "django.contrib.staticfiles", "debug_toolbar"]
    configured = override_settings(
        MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
        ROOT_URLCONF="tests.contrib.toolbar_urls",
        STATIC_URL="/static/",
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_PANELS=[HISTORY, PANEL],
        DEBUG_TOOLBAR_CONFIG={"IS_RUNNING_TESTS": False},
    )
    # The apps come last: they read these settings when they are installed.
    with configured, override_settings(INSTALLED_APPS=apps):
        yield
    registry.registered_checks = checks


@pytest.fixture(autouse=True)
def empty(store):
    """Nothing is remembered from other tests."""
    from debug_toolbar.store import get_store

    get_store().clear()
    activity.forget()


@pytest.fixture
def pages():
    from tests.contrib import toolbar_urls

    return toolbar_urls


def visit(work, url="/page/", client=None):
    """Request a page that calls `work`; return the id under which the toolbar stored the request."""
    from tests.contrib import toolbar_urls

    toolbar_urls.work = work
    response = (client or Client()).get(url)
    assert response.status_code == 200
    return response.headers["djdt-request-id"]


def stats_of(request_id):
    """Return what the panel stored."""
    from debug_toolbar.store import get_store

    return get_store().panel(request_id, "CacheopsPanel")


def shown(request_id):
    """Return the page of the panel for a request."""
    response = Client().get("/__debug__/render_panel/", {"request_id": request_id, "panel_id": "CacheopsPanel"})
    return response.json()["content"]


def text_of(content):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())


def side_bar(request_id):
    response = Client().get("/__debug__/history_sidebar/", {"request_id": request_id})
    return text_of(response.json()["CacheopsPanel"]["button"])


def signed(request_id):
    """Return the data that the buttons of the first read send."""
    found = re.search(r'name="signed" value="([^"]*)"', shown(request_id))
    return {"signed": html.unescape(found[1])}


def press(button, data, **options):
    return Client(enforce_csrf_checks=True).post(f"/__debug__/cacheops_{button}/", data, **options)


def answer(response):
    assert response.status_code == 200, response.content
    return text_of(response.json()["content"])


def labels():
    return list(Label.objects.all())


def test_the_panel_shows_each_read_with_its_outcome_and_reason():
    def work():
        labels()
        Label.objects.count()
        Unwatched.objects.first()

    visit(labels)
    request_id = visit(work)
    hit, miss, bypass = stats_of(request_id)["groups"]
    assert (hit["operation"], hit["label"]) == ("fetch", "shop.Label")
    assert (hit["hits"], miss["misses"], bypass["bypasses"]) == (1, 1, 1)
    assert [group["reads"][0]["reason"] for group in (hit, miss, bypass)] == ["hit", "not-stored", "no-profile"]
    assert hit["milliseconds"] > 0
    assert hit["database_milliseconds"] > 0
    assert hit["size"] > 0
    text = text_of(shown(request_id))
    assert "a valid result is in the cache" in text
    assert "no result is stored" in text
    assert "the model has no profile in CACHEOPS" in text
    assert "shop_label: any row" in text
    assert "count shop.Label miss" in text


def test_the_side_bar_shows_the_totals():
    def work():
        labels()
        Unwatched.objects.first()
        Label.objects.create(text="a")

    visit(labels)
    assert re.search(r"Cacheops 1 hit, 0 misses, 1 bypass, 1 write in [\d.]+ms", side_bar(visit(work)))


def test_a_read_shows_the_stack_of_the_application():
    """Lines of Django, of the toolbar and of this package are left out."""
    request_id = visit(labels)
    (group,) = stats_of(request_id)["groups"]
    assert [each["function"] for each in group["stack"][-2:]] == ["page", "labels"]
    assert group["stack"][-1]["code"] == "return list(Label.objects.all())"
    assert group["caller"].startswith(f"{__file__}:")
    assert len(group["stack"]) <= 20
    assert not [each for each in group["stack"] if "/django/" in each["file"] or "/debug_toolbar/" in each["file"]]
    assert "return list(Label.objects.all())" in text_of(shown(request_id))


@override_settings(DEBUG_TOOLBAR_CONFIG={"ENABLE_STACKTRACES": False})
def test_without_stacks_the_calling_line_is_shown():
    (group,) = stats_of(visit(labels))["groups"]
    assert group["stack"] == []
    assert group["caller"].startswith(f"{__file__}:")


def test_repeated_reads_of_one_line_are_grouped_and_marked():
    """Also if all of them are hits, and no matter how many other reads come between."""
    products = [Product.objects.create(sku=sku, category=Category.objects.create(name=sku)) for sku in "abc"]

    def work():
        Label.objects.count()
        for each in products:
            Category.objects.get(pk=each.category_id)
            Product.objects.filter(category=each.category_id).exists()

    visit(work)
    request_id = visit(work)
    stats = stats_of(request_id)
    assert [(each["operation"], each["count"], each["hits"]) for each in stats["groups"]] == [
        ("count", 1, 1),
        ("get", 3, 3),
        ("exists", 3, 3),
    ]
    assert [each["is_repeated"] for each in stats["groups"]] == [False, True, True]
    assert len({each["key"] for each in stats["groups"][1]["reads"]}) == 3
    assert stats["totals"]["repeated"] == 2
    assert text_of(shown(request_id)).count("3 repeated reads") == 2
    assert "7 hits, 0 misses, 2 repeated in" in side_bar(request_id)


def test_of_many_repeated_reads_only_the_first_are_listed():
    """The totals count all of them."""

    def work():
        for _ in range(60):
            Label.objects.count()

    request_id = visit(work)
    (group,) = stats_of(request_id)["groups"]
    assert (group["count"], len(group["reads"])) == (60, 50)
    assert "And 10 more." in text_of(shown(request_id))


def test_reads_of_a_template_are_shown_with_its_line(pages):
    """So two lines of one template are two groups."""
    for sku in "ab":
        Product.objects.create(sku=sku, category=Category.objects.create(name=sku))
    pages.template = "{% for each in products %}\n{{ each.category.name }}\n{{ each.labels.count }}{% endfor %}"
    pages.context = {"products": Product.objects.nocache()}
    request_id = visit(None, "/template/")
    repeated = [each for each in stats_of(request_id)["groups"] if each["is_repeated"]]
    assert [(each["stack"][-1]["line"], each["stack"][-1]["code"]) for each in repeated] == [
        (2, "{{ each.category.name }}"),
        (3, "{{ each.labels.count }}{% endfor %}</body></html>"),
    ]


def test_a_write_shows_the_results_that_it_invalidated():
    label = Label.objects.create(text="a")

    def work():
        labels()
        label.text = "b"
        label.save()
        # Stored after the write: the write did not invalidate it.
        Label.objects.count()

    request_id = visit(work)
    (write,) = stats_of(request_id)["writes"]
    assert (write["operation"], write["label"]) == ("save", "shop.Label")
    assert [(each["operation"], each["label"]) for each in write["results"]] == [("fetch", "shop.Label")]
    assert write["dependencies"] == ["shop_label: any row"]
    assert f"fetch of shop.Label at {__file__}" in text_of(shown(request_id))


def test_the_next_read_says_which_write_invalidated_its_result():
    """Also if the write was that of another request."""
    visit(labels)
    visit(lambda: Label.objects.create(text="a"))
    request_id = visit(labels)
    (group,) = stats_of(request_id)["groups"]
    assert group["reads"][0]["cause"]["operation"] == "save"
    assert f"invalidated by save of shop.Label at {__file__}" in text_of(shown(request_id))
    assert stats_of(visit(labels))["groups"][0]["reads"][0]["cause"] is None


def test_a_statement_of_the_application_is_shown_as_what_invalidated():
    """Without its parameters."""
    visit(labels)
    visit(lambda: connection.cursor().execute("INSERT INTO shop_label (text) VALUES (%s)", ["secret"]))
    text = text_of(shown(visit(labels)))
    assert "invalidated by SQL" in text
    assert "INSERT INTO shop_label" in text
    assert "secret" not in text


def test_a_write_is_not_said_to_have_invalidated_what_was_never_stored():
    """The first read of a query misses, whatever was written before."""
    visit(labels)
    visit(lambda: Label.objects.create(text="a"))
    request_id = visit(lambda: list(Label.objects.order_by("-text")))
    assert stats_of(request_id)["groups"][0]["reads"][0]["cause"] is None


def test_a_write_after_a_read_is_not_its_cause():
    """It is that of the next miss."""
    texts = iter("ab")

    def work():
        labels()
        Label.objects.create(text=next(texts))

    causes = [stats_of(visit(work))["groups"][0]["reads"][0]["cause"] for _ in range(2)]
    assert causes[0] is None
    assert causes[1]["operation"] == "save"


def test_a_transaction_shows_its_writes_once_it_has_committed():
    """Reads after a write of the same transaction say that they bypass the cache."""
    visit(labels)

    def work():
        Label.objects.create(text="a")
        labels()

    request_id = visit(work, "/atomic/")
    stats = stats_of(request_id)
    assert [each["reads"][0]["reason"] for each in stats["groups"]] == ["transaction-has-written"]
    (write,) = stats["writes"]
    assert write["caller"].startswith(f"{__file__}:")
    assert [each["operation"] for each in write["results"]] == ["fetch"]
    assert stats_of(visit(labels))["groups"][0]["reads"][0]["cause"]["operation"] == "save"


def test_decorated_functions_are_shown_by_name():
    @cached_as(Label)
    def greeting(name):
        """Neither the arguments nor the result are shown."""
        return f"hello {name}"

    name = "sec" + "ret"
    request_id = visit(lambda: greeting(name))
    groups = stats_of(request_id)["groups"]
    assert [each["label"] for each in groups if each["operation"] == "call"] == [f"{__name__}.{greeting.__qualname__}"]
    assert "secret" not in shown(request_id)


def test_an_asynchronous_view_is_shown_with_the_stack_of_its_coroutines():
    async def work():
        await Label.objects.acount()
        await Label.objects.acreate(text="a")

    async def request():
        from tests.contrib import toolbar_urls

        toolbar_urls.work = work
        return await AsyncClient().get("/async/")

    request_id = run_async(request()).headers["djdt-request-id"]
    stats = stats_of(request_id)
    (group,) = stats["groups"]
    assert (group["operation"], group["misses"]) == ("count", 1)
    assert [each["function"] for each in group["stack"][-2:]] == ["async_page", "work"]
    assert group["stack"][-1]["code"] == "await Label.objects.acount()"
    assert group["caller"].startswith(f"{__file__}:")
    (write,) = stats["writes"]
    assert [each["operation"] for each in write["results"]] == ["count"]
    assert write["caller"].startswith(f"{__file__}:")
    assert "count shop.Label miss" in text_of(shown(request_id))


def test_two_asynchronous_requests_at_once_are_recorded_apart():
    import asyncio

    async def work():
        await Label.objects.acount()
        await asyncio.sleep(0.01)
        await Label.objects.aexists()

    async def requests():
        from tests.contrib import toolbar_urls

        toolbar_urls.work = work
        return await asyncio.gather(*(AsyncClient().get("/async/") for _ in range(3)))

    found = [stats_of(each.headers["djdt-request-id"]) for each in run_async(requests())]
    assert [[each["operation"] for each in stats["groups"]] for stats in found] == [["count", "exists"]] * 3
    assert not decisions._observers
    assert not invalidations._observers


def test_the_history_panel_shows_an_earlier_request_again():
    earlier = visit(labels)
    before = shown(earlier)
    later = visit(lambda: Label.objects.create(text="a"))
    assert "0 hits, 1 miss in" in side_bar(earlier)
    assert "1 write" in side_bar(later)
    assert text_of(shown(earlier)) == text_of(before)
    assert "fetch shop.Label miss" in text_of(shown(earlier))


def test_a_request_without_reads_and_writes_has_an_empty_panel():
    request_id = visit(lambda: None)
    assert "The request read nothing" in text_of(shown(request_id))
    assert "The request wrote nothing" in text_of(shown(request_id))
    assert "0 hits, 0 misses in 0.00ms" in side_bar(request_id)


def test_the_button_invalidate_removes_the_stored_result(store):
    request_id = visit(labels)
    assert len(list(value_keys())) == 1
    assert "The stored result is removed." in answer(press("invalidate", signed(request_id)))
    assert list(value_keys()) == []
    assert "No result is stored under this key any more." in answer(press("invalidate", signed(request_id)))
    (group,) = stats_of(visit(labels))["groups"]
    assert (group["reads"][0]["reason"], group["reads"][0]["cause"]) == ("not-stored", None)


def test_the_button_compare_says_whether_the_stored_result_is_right():
    Label.objects.create(text="a")
    request_id = visit(labels)
    assert "The stored result equals what the database returns now." in answer(press("compare", signed(request_id)))


def test_a_difference_that_another_program_made_is_found():
    """It wrote past Django, so nothing was invalidated."""
    Label.objects.create(text="a")
    request_id = visit(labels)
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE shop_label SET text = 'planted'")
    text = answer(press("compare", signed(request_id)))
    assert "different : The stored result differs from what the database returns now" in text
    assert "fetch of shop.Label" in text
    assert "planted" not in text


def test_compare_says_when_there_is_nothing_to_compare():
    request_id = visit(labels)
    data = signed(request_id)
    press("invalidate", data)
    assert "There is nothing to compare" in answer(press("compare", data))


def test_the_buttons_answer_when_redis_does_not(store):
    data = signed(visit(labels))
    with override_settings(CACHEOPS_REDIS="redis://127.0.0.1:1/0", CACHEOPS_CLIENT_CLASS=None):
        for button in ("invalidate", "compare"):
            assert "Redis can't be asked" in answer(press(button, data))


@pytest.mark.parametrize("button", ["invalidate", "compare"])
def test_the_buttons_refuse_requests_that_do_not_come_from_the_panel(button):
    data = signed(visit(labels))
    key = next(value_keys())
    assert press(button, {"signed": data["signed"] + "x"}).status_code == 400
    assert press(button, {"key": key}).status_code == 400
    assert press(button, {}).status_code == 400
    assert Client().get(f"/__debug__/cacheops_{button}/", data).status_code == 405
    with override_settings(INTERNAL_IPS=[]):
        assert press(button, data).status_code == 404
    with override_settings(DEBUG=False):
        assert press(button, data).status_code == 404
    assert next(value_keys()) == key


def test_only_values_of_this_package_are_removed(store):
    from debug_toolbar.forms import SignedDataForm

    store.set("other", "program")
    labels()
    table = next(key.decode() for key in store.scan_iter("cacheops:[ti]:*"))
    for key in ("other", table):
        assert press("invalidate", {"signed": SignedDataForm.sign({"key": key})}).status_code == 400
        assert store.exists(key)


@pytest.mark.parametrize("off", ["absent", "disabled by its cookie", "hidden toolbar"])
def test_without_the_panel_nothing_is_recorded(off):
    from tests.contrib import toolbar_urls

    found = []
    toolbar_urls.work = lambda: found.append((list(decisions._observers), list(invalidations._observers), labels()))
    client, options = Client(), {}
    if off == "absent":
        options = {"DEBUG_TOOLBAR_PANELS": [HISTORY]}
    elif off == "hidden toolbar":
        options = {"INTERNAL_IPS": []}
    else:
        client.cookies["djdtCacheopsPanel"] = "off"
    with override_settings(**options):
        response = client.get("/page/")
    assert found == [([], [], [])]
    if off != "hidden toolbar":
        assert stats_of(response.headers["djdt-request-id"]) == {}


def test_observers_are_removed_after_a_view_that_raises():
    def work():
        raise KeyError

    with pytest.raises(KeyError):
        visit(work)
    assert not decisions._observers
    assert not invalidations._observers


def test_looking_at_the_panel_changes_nothing(store):
    """Neither keys in Redis nor counters, also after the toolbar was rendered for several requests."""
    request_id = visit(labels)
    visit(lambda: Label.objects.create(text="a"))

    def state():
        keys = sorted(key for key in store.scan_iter("*") if b":n:" not in key)
        counted = statistics(5)
        return [(key, store.dump(key)) for key in keys], str(counted)

    before = state()
    for _ in range(2):
        shown(request_id)
        side_bar(request_id)
    assert state() == before


def test_the_panel_is_imported_only_if_the_project_names_it():
    code = (
        "import sys, django; django.setup(); "
        "assert 'debug_toolbar' not in sys.modules; "
        "assert not [each for each in sys.modules if each.startswith('cacheops_lite.contrib.debug_toolbar')]"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": ":".join([".", "example"])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
