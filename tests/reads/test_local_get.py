"""local_get caches rows, not instances: each caller gets its own instance, hydrated as on a hit in Redis."""

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
    """Notes the text of an instance when it was made."""

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


def test_a_receiver_of_post_init_is_called_for_each_instance():
    """A change tracker watches the instance that it is attached to."""
    pk = Label.objects.create(text="old").pk
    with tracked(Label):
        for _ in range(3):
            label = Label.objects.get(pk=pk)
            assert label.tracker.owner is label
            assert not label.tracker.errors
            label.tracker.errors.append("bad")
            label.text = "new"
            assert label.tracker.has_changed()


def test_mutable_values_are_copied():
    """JSON values are copied after a read from the database, from Redis and from memory."""
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


def test_an_init_that_mutates_a_value_gets_a_copy_of_the_row():
    pk = Document.objects.create().pk
    Document.objects.update(facts={"kind": "memo", "by": "Kim"})
    found = [Document.objects.get(pk=pk) for _ in range(3)]
    assert [(each.kind, each.facts) for each in found] == [("memo", {"by": "Kim"})] * 3


def test_values_that_depend_on_the_language_or_time_zone_are_converted_for_each_read():
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


def test_a_foreign_key_is_read_from_memory(commands, queries):
    """Access to a foreign key is a get() by primary key."""
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


def test_a_proxy_model_gets_instances_of_its_own_class():
    """This applies also if the row was cached by the concrete model."""
    pk = Product.objects.create(sku="x").pk
    for model in (Product, VisibleProduct) * 2:
        assert type(model.objects.get(pk=pk)) is model


def test_a_missing_row_is_not_cached_in_memory():
    """Another process may create it without a notice to this process."""
    for _ in range(2):
        with pytest.raises(Label.DoesNotExist):
            Label.objects.get(pk=1)
    assert not local_cache._entries


def test_rows_are_cached_in_memory_only_if_the_profile_caches_get(settings, commands):
    settings.CACHEOPS = {"shop.*": {"ops": "fetch", "timeout": 60, "local_get": True}}
    pk = Label.objects.create(text="old").pk
    Label.objects.get(pk=pk)
    assert not local_cache._entries
