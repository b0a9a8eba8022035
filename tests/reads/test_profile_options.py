"""The profile options ``local_get`` and ``cache_on_save``."""

import pytest
from django.db import connection, transaction

from cacheops_lite import invalidate_all
from cacheops_lite.store import local_cache
from tests.shop.models import Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def options(store, settings):
    local_cache.invalidate()
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "local_get": True}}
    return Label.objects.create(text="old")


@pytest.fixture
def commands(monkeypatch, store):
    """The commands that are sent to Redis."""
    sent = []
    execute = type(store).execute_command
    monkeypatch.setattr(
        type(store), "execute_command", lambda self, *args, **kw: sent.append(args[0]) or execute(self, *args, **kw)
    )
    return sent


def test_a_simple_get_is_read_from_memory(commands):
    """Neither Redis nor the database is used."""
    Label.objects.get(text="old")
    del commands[:]
    assert Label.objects.get(text="old").text == "old"
    assert commands == []


def test_writes_of_the_same_process_invalidate_the_local_cache(options):
    assert Label.objects.get(pk=options.pk).text == "old"
    options.text = "new"
    options.save()
    assert Label.objects.get(pk=options.pk).text == "new"
    Label.objects.update(text="newer")
    assert Label.objects.get(pk=options.pk).text == "newer"
    with transaction.atomic():
        Label.objects.update(text="newest")
        assert Label.objects.get(pk=options.pk).text == "newest"
    assert Label.objects.get(pk=options.pk).text == "newest"
    invalidate_all()
    options.delete()
    with pytest.raises(Label.DoesNotExist):
        Label.objects.get(text="newest")


def test_a_read_that_a_write_overtook_is_not_cached_in_memory(options):
    """Its rows may be stale."""
    since = local_cache.invalidation_count()
    local_cache.invalidate(["other"])
    local_cache.put("key", "old", ["shop_label"], 60, since)
    assert not local_cache.get("key")


def test_a_changed_instance_does_not_change_the_local_cache(options):
    """Each caller gets its own instance."""
    Label.objects.get(pk=options.pk).text = "changed"
    assert Label.objects.get(pk=options.pk).text == "old"


def test_the_local_cache_is_bounded_in_size_and_time(monkeypatch):
    """The least recently used entry is evicted first, and expired entries are misses."""
    monkeypatch.setattr(local_cache, "MAX_ENTRIES", 2)
    for key in "ab":
        local_cache.put(key, key, [], 60, local_cache.invalidation_count())
    assert local_cache.get("a") == "a"
    local_cache.put("c", "c", [], 60, local_cache.invalidation_count())
    assert [local_cache.get(key) or None for key in "abc"] == ["a", None, "c"]
    local_cache.put("d", "d", [], 0, local_cache.invalidation_count())
    assert not local_cache.get("d")


@pytest.mark.parametrize(
    "read",
    [
        lambda: Label.objects.filter(text="old").get(),
        lambda: Label.objects.values("text").get(text="old"),
        lambda: Label.objects.only("text").get(text="old"),
        lambda: Product.objects.select_related("category").filter(sku="x").first(),
        lambda: Label.objects.get(text__in=["old"]),
    ],
)
def test_other_gets_read_from_redis(read, commands):
    """Only simple gets are cached in memory."""
    read()
    del commands[:]
    read()
    assert len(commands) == 1


def test_the_local_cache_distinguishes_types_of_values(options):
    """1 and True are equal keys of a dict."""
    assert Label.objects.get(pk=options.pk, text="old")
    with pytest.raises(Label.DoesNotExist):
        Label.objects.get(pk=str(options.pk), text="new")


@pytest.mark.parametrize(("option", "condition"), [(True, "pk"), ("text", "text")])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_cache_on_save_caches_a_saved_object(settings, queries, option, condition, in_transaction):
    """It is read by its primary key or by the field that the profile names, after the commit."""
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "cache_on_save": option}}
    if in_transaction:
        with transaction.atomic():
            label = Label.objects.create(text="new")
    else:
        label = Label.objects.create(text="new")
    label.text = "newer"
    label.save()
    with queries() as ran:
        assert Label.objects.get(**{condition: getattr(label, condition)}).text == "newer"
    assert len(ran) == 0


def test_cache_on_save_does_not_cache_an_object_that_was_rolled_back(settings):
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "cache_on_save": True}}
    with transaction.atomic():
        label = Label.objects.create(text="new")
        transaction.set_rollback(True)
    with pytest.raises(Label.DoesNotExist):
        Label.objects.get(pk=label.pk)
    assert connection.get_autocommit()
