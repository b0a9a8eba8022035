"""Assembled prefetches: nothing but the time that they take tells them from Django's."""

import copy
import inspect
import random
from functools import lru_cache

import django
import pytest
from django.db.models import Prefetch, prefetch_related_objects
from django.db.models import query as django_query
from django.db.models.query import QuerySet

from cacheops_lite import invalidate_all
from cacheops_lite.orm import prefetch
from cacheops_lite.orm.prefetch import makes_plain_querysets
from cacheops_lite.orm.prefetched_objects import KNOWN_ATTRIBUTES, PrefetchedObjects
from tests.conftest import run_async
from tests.rich.models import Cell, Event, Item, Mark, Marking, Owner, Place, Remark, Step, Tag, Venue
from tests.shop.models import Branch, Category, Club, Person, Product, Unwatched
from tests.support.prefetched import described, tagged

pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("rows")]


LOOKUPS = {
    Item: [
        *("tags", "tags__items", "helpers", "helpers__helped", "steps", "samples", "cells", "remarks", "owner__items"),
        *("place__items__tags", "label", "place__parts", "owner__friends", "nick__nicked"),
    ],
    Owner: [
        *("items", "items__tags", "friends", "friends__friends", "follows", "followers", "nicked", "helped", "badge"),
        *("kept", "warded__steps", "items__place__items"),
    ],
    Place: ["items", "parts", "remarks", "fallen", "items__owner__items", "inside__items"],
    Venue: ["items", "events", "parts", "events__venue"],
    Tag: ["items", "items__tags", "items__helpers"],
    Mark: ["markings", "markings__mark__markings"],
    Marking: ["mark", "mark__markings"],
    Remark: ["target", "content_type"],
    Event: ["venue", "venue__items"],
    Cell: ["item", "item__cells"],
    Category: ["products", "products__labels", "category_set", "parent__products"],
    Branch: ["children", "children__children", "parent__children"],
}
QUERYSETS = {
    "tags": lambda: Tag.objects.order_by("-word"),
    "items": lambda: Item.objects.filter(number__lt=5).order_by("-pk"),
    "steps": lambda: Step.objects.select_related("item"),
    "products": lambda: Product.objects.prefetch_related("labels"),
}


def lookups_of(model, rng):
    """Return random lookups, some with querysets or attributes of their own."""
    found = []
    for number, lookup in enumerate(rng.sample(LOOKUPS[model], rng.randint(1, min(3, len(LOOKUPS[model]))))):
        kind, last = rng.random(), lookup.split("__")[-1]
        queryset = QUERYSETS[last]() if kind < 0.3 and last in QUERYSETS else None
        to_attr = f"own{number}" if kind > 0.85 and last in QUERYSETS else None
        if queryset is not None or to_attr is not None or kind < 0.4:
            found.append(Prefetch(lookup, queryset, to_attr))
        else:
            found.append(lookup)
    return found


@pytest.mark.parametrize("start", range(0, 30, 10))
def test_prefetches_of_any_shape_are_those_of_django(by_django, start):
    """Instances, caches, querysets with all their attributes, their SQL, and the order of everything are equal."""
    for seed in range(start, start + 10):
        rng = random.Random(seed)
        model = rng.choice(list(LOOKUPS))
        lookups, is_by_hand, limit = lookups_of(model, rng), rng.random() < 0.3, rng.choice([1, 2, 3, 100])

        def read(model=model, lookups=lookups, is_by_hand=is_by_hand, limit=limit):
            copies = copy.deepcopy(lookups)
            if not is_by_hand:
                return list(model.objects.prefetch_related(*copies).order_by("pk")[:limit])
            found = list(model.objects.order_by("pk")[:limit])
            prefetch_related_objects(found, *copies)
            return found

        true = by_django(lambda: described(read()))
        for _ in range(2):
            assert described(read()) == true, (seed, model, lookups)


def test_caches_are_assembled_for_every_kind_of_relation_that_django_alone_makes():
    """Generic relations, relations of models with parents, and own querysets are left to Django."""
    assembled = {
        (model.__name__, name)
        for model, lookups in LOOKUPS.items()
        for name in lookups
        if "__" not in name
        for each in list(model.objects.prefetch_related(name))
        if type(getattr(each, "_prefetched_objects_cache", None)) is PrefetchedObjects
    }
    assert assembled == {
        *(("Item", name) for name in ("tags", "helpers", "steps", "samples", "cells")),
        *(("Owner", name) for name in ("items", "friends", "follows", "followers", "nicked", "helped", "kept")),
        *(("Place", name) for name in ("items", "parts", "fallen")),
        *(("Tag", "items"), ("Mark", "markings"), ("Category", "products"), ("Category", "category_set")),
    }


def test_the_function_of_django_is_the_one_that_is_known():
    """A Django that changes it, its parameters or the attributes of querysets needs a look at this module."""
    function = prefetch._patches.original(django_query, "prefetch_one_level")
    assert [*inspect.signature(function).parameters] == prefetch._PARAMETERS
    assert function.__module__ == "django.db.models.query"
    assert vars(Tag.objects.all()).keys() <= KNOWN_ATTRIBUTES
    assert KNOWN_ATTRIBUTES - vars(Tag.objects.all()).keys() <= {"_fetch_mode", "_cloning_enabled"}
    assert django.VERSION < (6, 2)


CHANGES = {
    "add": lambda item: item.tags.add(3),
    "remove": lambda item: item.tags.remove(1),
    "set": lambda item: item.tags.set([2, 3]),
    "clear": lambda item: item.tags.clear(),
    "create": lambda item: item.tags.create(word="brand new"),
    "get_or_create": lambda item: item.tags.get_or_create(word="brand new"),
    "create a step": lambda item: item.steps.create(text="new"),
    "add steps": lambda item: item.steps.add(Step.objects.order_by("pk").first()),
    "refresh": lambda item: item.refresh_from_db(),
    "refresh some": lambda item: item.refresh_from_db(fields=["tags"]),
    "delete": lambda item: item._prefetched_objects_cache.__delitem__("tags"),
    "pop": lambda item: item._prefetched_objects_cache.pop("tags"),
    "reset": lambda item: setattr(item, "_prefetched_objects_cache", {}),
    "save": lambda item: item.save(),
    "change the key": lambda item: setattr(item, "pk", 1),
    "delete the key": lambda item: setattr(item, "pk", None),
    "prefetch again": lambda item: prefetch_related_objects([item], "tags", "samples"),
}


@pytest.mark.parametrize("is_read_before", [False, True])
def test_changes_leave_in_the_cache_what_they_leave_with_django(by_django, queries, is_read_before):
    """Whether the querysets were asked for before or not: contents, new reads and their number."""

    def outcome(change):
        item, moved = tagged()[3], Step.objects.nocache().order_by("pk").first()
        if is_read_before:
            item.tags.all(), item.steps.all()
        change(item)
        cache = item._prefetched_objects_cache
        seen = [dict(cache.items()).keys(), "tags" in cache, len(cache), bool(cache)]
        with queries() as sent:
            try:
                seen += [sorted(each.word for each in item.tags.all()), [each.text for each in item.steps.all()]]
                seen += [item.tags.count(), item.steps.filter(text="s").count(), item.tags.exists()]
            except ValueError as error:
                seen.append(str(error))
        sqls = [each["sql"] for each in sent]
        item.pk = item.pk or 4
        item.tags.set([1])
        Tag.objects.filter(word="brand new").delete()
        Step.objects.filter(text="new").delete()
        Step.objects.filter(pk=moved.pk).update(item=moved.item_id)
        invalidate_all()
        return described(seen), sqls

    for name, change in CHANGES.items():
        outcome(change)
        assert by_django(lambda: outcome(change)) == outcome(change), name  # noqa: B023


def test_coroutines_iterate_prefetched_querysets(queries):
    async def words():
        items = [each async for each in Item.objects.prefetch_related("tags").order_by("pk")]
        found = []
        for item in items:
            words = [tag.word async for tag in item.tags.all()]
            found.append(sorted(words))
        return found

    true = [sorted(tag.word for tag in item.tags.all()) for item in Item.objects.nocache().order_by("pk")]
    assert run_async(words()) == run_async(words()) == true


def test_a_further_prefetch_changes_a_queryset_that_is_there_already(by_django):
    """The name in the cache of a reverse relation may not be that of its attribute, so Django reads it again."""
    people = [Person.objects.create(name=f"p{number}") for number in range(4)]
    for number in range(2):
        Club.objects.create(name=f"c{number}").members.set(people)

    def found():
        read = list(Person.objects.prefetch_related("club_set").order_by("pk"))
        clubs = [each.club_set.all() for each in read]
        names = [sorted(club.name for club in each) for each in clubs]
        Club.objects.filter(name="c1").update(name="renamed")
        prefetch_related_objects(read, "club_set")
        after = [sorted(club.name for club in each) for each in clubs]
        Club.objects.filter(name="renamed").update(name="c1")
        return names, after, [each is one.club_set.all() for each, one in zip(clubs, read, strict=True)]

    assert found() == by_django(found) == ([["c0", "c1"]] * 4, [["c0", "renamed"]] * 4, [True] * 4)


@pytest.mark.parametrize("key", [None, ""])
def test_instances_without_a_key_raise_the_errors_of_django(by_django, key):
    def outcome():
        owners = [*Owner.objects.order_by("pk"), Owner(name="new", code=key)]
        try:
            prefetch_related_objects(owners, "nicked")
            prefetch_related_objects(owners, "friends")
        except ValueError as error:
            return str(error), described([getattr(each, "_prefetched_objects_cache", None) for each in owners])
        return None

    Owner.objects.prefetch_related("nicked")
    assert outcome() == by_django(outcome) is not None


def test_instances_of_several_classes_are_left_to_django(by_django):
    class Special(Item):
        class Meta:
            app_label, proxy = "rich", True

    def read():
        found = [*Item.objects.order_by("pk")[:4], *Special.objects.order_by("pk")[:3]]
        prefetch_related_objects(found, "tags")
        return [(type(each), type(each._prefetched_objects_cache), described(each, 2)) for each in found]

    try:
        by_class = {(kind, cache) for kind, cache, _ in read()}
        assert (Item, PrefetchedObjects) in by_class
        assert {cache for kind, cache in by_class if kind is Special} == {dict}
        assert [each[2] for each in read()] == [each[2] for each in by_django(read)]
    finally:
        del django.apps.apps.all_models["rich"]["special"]
        django.apps.apps.clear_cache()


def test_models_that_are_not_cached_are_left_to_django(settings):
    """Also where caching is switched off."""
    Unwatched.objects.bulk_create(Unwatched(name="x", product=each) for each in Product.objects.all())
    products = list(Product.objects.prefetch_related("unwatched_set"))
    assert {type(each._prefetched_objects_cache) for each in products} == {dict}
    settings.CACHEOPS_ENABLED = False
    assert {type(each._prefetched_objects_cache) for each in tagged()} == {dict}


def test_a_queryset_with_an_unknown_attribute_is_left_to_django(monkeypatch):
    """A later Django may add one that depends on the instance."""
    init = QuerySet.__init__

    def with_more(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self._unknown = 1

    with_more.__module__ = init.__module__
    monkeypatch.setattr(QuerySet, "__init__", with_more)
    monkeypatch.setattr(prefetch, "makes_plain_querysets", lru_cache(makes_plain_querysets.__wrapped__))
    assert {type(each._prefetched_objects_cache) for each in tagged()} == {dict}


def test_a_function_that_another_package_has_replaced_is_left_alone():
    prefetch.uninstall()
    original = django_query.prefetch_one_level

    def watching(*args):
        return original(*args)

    try:
        assert original.__module__ == "django.db.models.query"
        django_query.prefetch_one_level = watching
        prefetch.install()
        assert django_query.prefetch_one_level is watching
    finally:
        django_query.prefetch_one_level = original
        prefetch.install()
    assert django_query.prefetch_one_level is prefetch.prefetch_one_level
