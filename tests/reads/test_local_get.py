"""local_get remembers rows, not instances: each caller gets an instance of its own, made as a hit makes it."""

from contextlib import contextmanager

import pytest
from django.db.models.signals import post_init
from django.utils import timezone, translation

from cacheops_lite.store import local_cache
from tests.shop.models import Category, Document, Label, Page, Product, VisibleProduct

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def options(store, settings):
    local_cache.invalidate()
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "local_get": True}}


@pytest.fixture
def commands(monkeypatch, store):
    """The commands that are sent to Redis."""
    sent = []
    execute = type(store).execute_command
    monkeypatch.setattr(
        type(store), "execute_command", lambda self, *args, **kw: sent.append(args[0]) or execute(self, *args, **kw)
    )
    return sent


class Tracker:
    """Notes what an instance was when it was made."""

    def __init__(self, owner):
        self.owner, self.kept, self.errors = owner, owner.text, []

    def has_changed(self):
        return self.owner.text != self.kept


@contextmanager
def tracked(model):
    def attach(instance, **kwargs):
        instance.tracker = Tracker(instance)

    post_init.connect(attach, sender=model, weak=False)
    try:
        yield
    finally:
        post_init.disconnect(attach, sender=model)


def test_a_change_tracker_watches_the_instance_that_it_is_attached_to():
    """Receivers of post_init are called for each instance."""
    pk = Label.objects.create(text="old").pk
    with tracked(Label):
        for _ in range(3):
            label = Label.objects.get(pk=pk)
            assert label.tracker.owner is label
            assert not label.tracker.errors
            label.tracker.errors.append("bad")
            label.text = "new"
            assert label.tracker.has_changed()


def test_values_that_can_be_changed_are_copied():
    """Of JSON: for the first caller, for one that finds it in Redis, and for one that finds it in memory."""
    pk = Product.objects.create(sku="x", facts={"sizes": [1]}).pk
    for _ in range(3):
        product = Product.objects.get(pk=pk)
        assert product.facts == {"sizes": [1]}
        product.facts["sizes"].append(2)
    local_cache.invalidate()
    for _ in range(3):
        product = Product.objects.get(pk=pk)
        assert product.facts == {"sizes": [1]}
        product.facts["sizes"].append(2)


def test_an_init_that_takes_a_part_of_a_value_away_finds_it_each_time():
    """It is given a copy of the row."""
    pk = Document.objects.create().pk
    Document.objects.update(facts={"kind": "memo", "by": "Kim"})
    found = [Document.objects.get(pk=pk) for _ in range(3)]
    assert [(each.kind, each.facts) for each in found] == [("memo", {"by": "Kim"})] * 3


def test_another_language_or_time_zone_shows_its_own_value():
    """As a field shows it that goes by them."""
    Page.objects.bulk_create([Page(title={"en": "Hello", "de": "Hallo"}, at=timezone.now())])
    pk = Page.objects.nocache().values_list("pk", flat=True)[0]
    for _ in range(2):
        for language, title in ("en", "Hello"), ("de", "Hallo"):
            with translation.override(language):
                assert Page.objects.get(pk=pk).title == title
        shown = set()
        for zone in "UTC", "Asia/Tokyo":
            with timezone.override(zone), translation.override("de"):
                shown.add(Page.objects.get(pk=pk).at)
        assert len(shown) == 2


def test_a_foreign_key_is_answered_from_memory(commands, queries):
    """It is a get() by primary key as well."""
    category = Category.objects.create(name="old")
    key = Product.objects.create(sku="x", category=category).pk
    products = [Product.objects.nocache().get(pk=key) for _ in range(3)]
    assert products[0].category.name == "old"
    del commands[:]
    with queries() as ran:
        assert products[1].category.name == "old"
    assert (commands, len(ran)) == ([], 0)
    assert products[0].category is not products[1].category
    category.name = "new"
    category.save()
    assert products[2].category.name == "new"


def test_a_proxy_s_instances_are_of_its_own_class():
    """Also if its concrete model is remembered."""
    pk = Product.objects.create(sku="x").pk
    for model in (Product, VisibleProduct) * 2:
        assert type(model.objects.get(pk=pk)) is model


def test_a_row_that_is_absent_is_not_remembered():
    """Another process may add it, of which this one does not hear."""
    for _ in range(2):
        with pytest.raises(Label.DoesNotExist):
            Label.objects.get(pk=1)
    assert not local_cache._entries


def test_only_where_get_is_cached(settings, commands):
    """Of a profile that caches fetches alone nothing is remembered."""
    settings.CACHEOPS = {"shop.*": {"ops": "fetch", "timeout": 60, "local_get": True}}
    pk = Label.objects.create(text="old").pk
    Label.objects.get(pk=pk)
    assert not local_cache._entries
