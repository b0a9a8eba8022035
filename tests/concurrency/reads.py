"""Reads of every shape, each with the judge of its result.  Results are plain values, to be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Max

from cacheops_lite import cached_as
from tests.concurrency import judge
from tests.concurrency.judge import Condition
from tests.concurrency.rows import CATEGORIES, DAYS, PLACES, PRODUCTS, ROOTS, category_version, root_of
from tests.shop.models import Category, Product

# Distinct results of the widest shape: enough to overflow a small Redis.
WIDE = 400


@dataclass
class Read:
    """`read()` gives a result, `judge(result, bounds)` what is wrong with it."""

    name: str
    read: Callable[[], Any]
    judge: Callable[[Any, Any], str | None]


def triples(queryset):
    return sorted((pk, views, int(price)) for pk, views, price in queryset.values_list("pk", "views", "price"))


def triples_of(instances):
    return sorted((each.pk, each.views, int(each.price)) for each in instances)


def of_rows(name, read, **condition):
    return Read(name, read, partial(judge.rows, Condition(**condition)))


def gets():
    def get(pk):
        try:
            return triples_of([Product.objects.get(pk=pk)])
        except Product.DoesNotExist:
            return []

    return [of_rows(f"get {pk}", partial(get, pk), pks=[pk]) for pk in PRODUCTS]


def names():
    def get(pk):
        return [(pk, category_version(Category.objects.get(pk=pk).name))]

    return [Read(f"category {pk}", partial(get, pk), judge.names) for pk in CATEGORIES]


def fetches():
    def fetch(place):
        return triples_of(Product.objects.filter(category=CATEGORIES[place]))

    return [of_rows(f"fetch a={place}", partial(fetch, place), a=[place]) for place in range(PLACES)]


def pairs():
    return [(a, b) for a in range(PLACES) for b in range(PLACES)]


def values():
    def fetch(a, b):
        return triples(Product.objects.filter(category=CATEGORIES[a], day=DAYS[b]))

    return [of_rows(f"values a={a} b={b}", partial(fetch, a, b), a=[a], b=[b]) for a, b in pairs()]


def days():
    def fetch(place):
        return triples(Product.objects.filter(day=DAYS[place]))

    return [of_rows(f"values b={place}", partial(fetch, place), b=[place]) for place in range(PLACES)]


def disjunctions():
    def fetch(place):
        return triples(Product.objects.filter(category__in=[CATEGORIES[0], CATEGORIES[place]]))

    return [of_rows(f"values a in 0, {place}", partial(fetch, place), a=[0, place]) for place in range(1, PLACES)]


def counts():
    def count(place):
        return Product.objects.filter(category=CATEGORIES[place]).count()

    return [Read(f"count a={p}", partial(count, p), partial(judge.count, Condition(a=[p]))) for p in range(PLACES)]


def existences():
    def exists(a, b):
        return Product.objects.filter(category=CATEGORIES[a], day=DAYS[b]).exists()

    return [
        Read(f"exists a={a} b={b}", partial(exists, a, b), partial(judge.exists, Condition(a=[a], b=[b])))
        for a, b in pairs()
    ]


def aggregates():
    def highest(condition):
        return Product.objects.filter(**condition).aggregate(Max("views"))["views__max"]

    reads = [Read("max", partial(highest, {}), partial(judge.highest, Condition()))]
    for p in range(PLACES):
        condition = {"category": CATEGORIES[p]}
        reads.append(Read(f"max a={p}", partial(highest, condition), partial(judge.highest, Condition(a=[p]))))
    return reads


def joins():
    def fetch(root):
        return triples(Product.objects.filter(category__parent=root))

    return [
        of_rows(f"join {root}", partial(fetch, root), a=[place for place in range(PLACES) if root_of(place) == root])
        for root in ROOTS
    ]


def related():
    def fetch(place):
        found = list(Product.objects.filter(day=DAYS[place]).select_related("category"))
        versions = sorted({(each.category_id, category_version(each.category.name)) for each in found})
        return triples_of(found), versions

    def judge_both(condition, found, bounds):
        return judge.rows(condition, found[0], bounds) or judge.names(found[1], bounds)

    return [
        Read(f"related b={place}", partial(fetch, place), partial(judge_both, Condition(b=[place])))
        for place in range(PLACES)
    ]


def functions():
    def of_place(place):
        queryset = Product.objects.filter(category=CATEGORIES[place])

        @cached_as(queryset, extra=place)
        def function():
            return triples(queryset.all())

        return function

    return [of_rows(f"cached_as a={place}", of_place(place), a=[place]) for place in range(PLACES)]


def wide():
    """Many different results, which are large."""

    def fetch(number):
        return triples_of(Product.objects.filter(views__gt=-number))

    return [of_rows(f"wide {number}", partial(fetch, number)) for number in range(1, WIDE + 1)]


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
