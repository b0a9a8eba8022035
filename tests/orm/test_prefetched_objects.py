"""A cache of prefetched querysets behaves like the dictionary of Django, and makes each queryset when it is needed."""

import copy
import pickle

import pytest

from cacheops_lite.orm.prefetched_objects import PrefetchedObjects
from tests.rich.models import Owner
from tests.support.prefetched import described, tagged

pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("rows")]


def test_a_queryset_is_made_once_and_only_if_it_is_asked_for():
    tagged()
    items = tagged()
    assert [len(item._prefetched_objects_cache.pending) for item in items[1:3]] == [2, 2]
    found = items[1].tags.all()
    assert found is items[1].tags.all() is items[1]._prefetched_objects_cache["tags"]
    assert list(items[1]._prefetched_objects_cache.pending) == ["steps"]


def test_querysets_that_are_asked_for_in_any_order_are_kept_in_the_order_of_django(by_django):
    def names():
        item = tagged()[3]
        item.steps.all()
        return list(item._prefetched_objects_cache)

    assert names() == by_django(names) == ["tags", "steps"]


def test_a_queryset_keeps_the_key_that_its_instance_had(by_django):
    """Like Django's, which is made at once: also where the key is changed before it is asked for."""

    def sql():
        item, owner = tagged()[3], list(Owner.objects.prefetch_related("items").order_by("pk"))[2]
        item.pk, owner.pk = 1, 2
        prefetched = [each._prefetched_objects_cache for each in (item, owner)]
        tags, items = prefetched[0]["tags"], prefetched[1]["items"]
        known = [[*each] for each in items._known_related_objects.values()]
        return str(tags.query), str(items.query), known

    assert sql() == by_django(sql)


COPIES = {
    "pickle": lambda item: pickle.loads(pickle.dumps(item)),
    "pickle of a list": lambda item: pickle.loads(pickle.dumps([item, item.tags.all()]))[0],
    "pickle of the cache": lambda item: pickle.loads(pickle.dumps(item._prefetched_objects_cache))["tags"]._hints[
        "instance"
    ],
    "pickle of a queryset": lambda item: pickle.loads(pickle.dumps(item.tags.all()))._hints["instance"],
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "deep copy of the cache": lambda item: copy.deepcopy(item._prefetched_objects_cache)["tags"]._hints["instance"],
}


def test_copies_of_an_instance_are_those_of_django(by_django):
    tagged()
    for name, copied in COPIES.items():
        assert described(copied(tagged()[3])) == by_django(lambda: described(copied(tagged()[3]))), name  # noqa: B023


def test_pickles_name_nothing_of_this_package():
    """A process without it can read them."""
    tagged()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        items = tagged()
        pickled = pickle.dumps(items, protocol)
        assert b"cacheops" not in pickled
        assert type(pickle.loads(pickled)[3]._prefetched_objects_cache) is dict
        assert type(copy.copy(items[3]._prefetched_objects_cache)) is dict


def error_of(use):
    with pytest.raises(KeyError) as raised:
        use()
    return raised.value.args


DICTIONARY = {
    "items": lambda cache: list(cache.items()),
    "keys": lambda cache: list(cache.keys()),
    "values": lambda cache: list(cache.values()),
    "iteration": list,
    "backwards": lambda cache: list(reversed(cache)),
    "len": len,
    "bool": bool,
    "in": lambda cache: ["tags" in cache, "steps" in cache, "nothing" in cache],
    "get": lambda cache: [cache.get("steps"), cache.get("nothing"), cache.get("nothing", 1)],
    "item": lambda cache: cache["steps"],
    "no item": lambda cache: error_of(lambda: cache["nothing"]),
    "pop": lambda cache: [cache.pop("tags"), cache.pop("nothing", 2), list(cache)],
    "popitem": lambda cache: [cache.popitem(), list(cache)],
    "del": lambda cache: [cache.__delitem__("tags"), list(cache)],
    "no del": lambda cache: error_of(lambda: cache.__delitem__("nothing")),
    "set": lambda cache: [cache.__setitem__("tags", 1), cache.__setitem__("other", 2), list(cache.items())],
    "setdefault": lambda cache: [cache.setdefault("tags", 1), cache.setdefault("other", 2), list(cache)],
    "update": lambda cache: [cache.update(tags=1, other=2), list(cache.items())],
    "clear": lambda cache: [cache.clear(), list(cache), "tags" in cache],
    "copy": lambda cache: [type(cache.copy()), cache.copy()],
    "dict": lambda cache: dict(cache),
    "unpacked": lambda cache: {**cache},
    "arguments": lambda cache: (lambda **arguments: arguments)(**cache),
    "or": lambda cache: [cache | {"other": 1}, {"other": 1} | cache],
    "or in place": lambda cache: cache.__ior__({"other": 1}),
    "equal": lambda cache: [cache == dict(cache.items()), cache == {}, cache != {}, cache == {}],
    "repr": repr,
    "is a dictionary": lambda cache: isinstance(cache, dict),
    "from keys": lambda cache: cache.fromkeys(["a"]),
    "merged": lambda cache: {"first": 1, **cache, "last": 2},
}


def test_a_cache_behaves_like_a_plain_dictionary(by_django):
    """Whether its querysets were asked for before or not."""

    def outcome(use, is_read_before):
        item = tagged()[3]
        if is_read_before:
            item.steps.all()
        return described(use(item._prefetched_objects_cache))

    outcome(list, False)
    for name, use in DICTIONARY.items():
        for is_read_before in (False, True):
            true = by_django(lambda: outcome(use, is_read_before))  # noqa: B023
            assert outcome(use, is_read_before) == true, name


def test_every_method_of_dictionaries_is_known():
    """A new one would see only the querysets that were made."""
    inherited = {name for name in dir(dict) if getattr(PrefetchedObjects, name) is getattr(dict, name, None)}
    of_no_item = {"__class_getitem__", "__getitem__", "__hash__", "__new__", "__sizeof__", "fromkeys"}
    assert {name for name in inherited if name in vars(dict)} - {"__doc__"} <= of_no_item | {
        *("__getattribute__", "__ge__", "__gt__", "__le__", "__lt__")
    }
