"""Reads of every kind, each with a check of its result.  Results are plain values, so they can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Max

from cacheops_lite import cached_as
from tests.concurrency import result_checks
from tests.concurrency.result_checks import Condition
from tests.concurrency.rows import CATEGORIES, DAYS, PLACES, PRODUCTS, ROOTS, category_version, root_of
from tests.shop.models import Category, Product

# The number of distinct results of `wide`: enough to overflow a small Redis.
WIDE = 400


@dataclass
class Read:
    """`read()` returns a result; `check(result, bounds)` returns what is wrong with it, or None."""

    name: str
    read: Callable[[], Any]
    check: Callable[[Any, Any], str | None]


def triples(queryset):
    return sorted((pk, views, int(price)) for pk, views, price in queryset.values_list("pk", "views", "price"))


def triples_of(instances):
    return sorted((each.pk, each.views, int(each.price)) for each in instances)


def rows_read(name, read, **condition):
    return Read(name, read, partial(result_checks.rows, Condition(**condition)))


def gets():
    def get(pk):
        try:
            return triples_of([Product.objects.get(pk=pk)])
        except Product.DoesNotExist:
            return []

    return [rows_read(f"get {pk}", partial(get, pk), pks=[pk]) for pk in PRODUCTS]


def names():
    def get(pk):
        return [(pk, category_version(Category.objects.get(pk=pk).name))]

    return [Read(f"category {pk}", partial(get, pk), result_checks.names) for pk in CATEGORIES]


def fetches():
    def fetch(place):
        return triples_of(Product.objects.filter(category=CATEGORIES[place]))

    return [rows_read(f"fetch a={place}", partial(fetch, place), a=[place]) for place in range(PLACES)]


def pairs():
    return [(a, b) for a in range(PLACES) for b in range(PLACES)]


def values():
    def fetch(a, b):
        return triples(Product.objects.filter(category=CATEGORIES[a], day=DAYS[b]))

    return [rows_read(f"values a={a} b={b}", partial(fetch, a, b), a=[a], b=[b]) for a, b in pairs()]


def days():
    def fetch(place):
        return triples(Product.objects.filter(day=DAYS[place]))

    return [rows_read(f"values b={place}", partial(fetch, place), b=[place]) for place in range(PLACES)]


def disjunctions():
    def fetch(place):
        return triples(Product.objects.filter(category__in=[CATEGORIES[0], CATEGORIES[place]]))

    return [rows_read(f"values a in 0, {place}", partial(fetch, place), a=[0, place]) for place in range(1, PLACES)]


def counts():
    def count(place):
        return Product.objects.filter(category=CATEGORIES[place]).count()

    return [
        Read(f"count a={p}", partial(count, p), partial(result_checks.count, Condition(a=[p]))) for p in range(PLACES)
    ]


def existences():
    def exists(a, b):
        return Product.objects.filter(category=CATEGORIES[a], day=DAYS[b]).exists()

    return [
        Read(f"exists a={a} b={b}", partial(exists, a, b), partial(result_checks.exists, Condition(a=[a], b=[b])))
        for a, b in pairs()
    ]


def aggregates():
    def highest(condition):
        return Product.objects.filter(**condition).aggregate(Max("views"))["views__max"]

    reads = [Read("max", partial(highest, {}), partial(result_checks.highest, Condition()))]
    for p in range(PLACES):
        condition = {"category": CATEGORIES[p]}
        reads.append(Read(f"max a={p}", partial(highest, condition), partial(result_checks.highest, Condition(a=[p]))))
    return reads


def joins():
    def fetch(root):
        return triples(Product.objects.filter(category__parent=root))

    return [
        rows_read(f"join {root}", partial(fetch, root), a=[place for place in range(PLACES) if root_of(place) == root])
        for root in ROOTS
    ]


def related():
    def fetch(place):
        found = list(Product.objects.filter(day=DAYS[place]).select_related("category"))
        versions = sorted({(each.category_id, category_version(each.category.name)) for each in found})
        return triples_of(found), versions

    def check_both(condition, found, bounds):
        return result_checks.rows(condition, found[0], bounds) or result_checks.names(found[1], bounds)

    return [
        Read(f"related b={place}", partial(fetch, place), partial(check_both, Condition(b=[place])))
        for place in range(PLACES)
    ]


def functions():
    def of_place(place):
        queryset = Product.objects.filter(category=CATEGORIES[place])

        @cached_as(queryset, extra=place)
        def function():
            return triples(queryset.all())

        return function

    return [rows_read(f"cached_as a={place}", of_place(place), a=[place]) for place in range(PLACES)]


def wide():
    """Return many different reads with large results."""

    def fetch(number):
        return triples_of(Product.objects.filter(views__gt=-number))

    return [rows_read(f"wide {number}", partial(fetch, number)) for number in range(1, WIDE + 1)]


SHAPES = [
    gets,
    names,
    fetches,
    values,
    days,
    disjunctions,
    counts,
    existences,
    aggregates,
    joins,
    related,
    functions,
]
