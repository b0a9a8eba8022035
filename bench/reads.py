"""Measure hits, and what a miss adds to the query."""

from __future__ import annotations

from typing import Any

from django.db.models import Avg

from .library.models import Book
from .operations import Operation

ONE, GENRE = 17, 1


class Hit(Operation):
    is_hit = True
    warmups = 2


class Get(Hit):
    name, title, bound = "get", "get by pk, hit", 0.30
    near_bound = 0.08

    def call(self) -> Any:
        return Book.objects.get(pk=ONE)


class ForeignKey(Hit):
    name, title, bound = "fk", "FK access, hit", 0.35
    near_bound = 0.12

    def prepare(self) -> None:
        self.book = Book.objects.get(pk=ONE)

    def before(self) -> None:
        self.book._state.fields_cache.pop("author", None)

    def call(self) -> Any:
        return self.book.author


class Fetch(Hit):
    rows: int

    def call(self) -> Any:
        return list(Book.objects.filter(genre=GENRE).order_by("pk")[: self.rows])


class Fetch20(Fetch):
    name, title, bound, rows = "fetch-20", "fetch 20 of 11 columns, hit", 0.50, 20
    near_bound = 0.3


class Fetch100(Fetch):
    name, title, bound, rows = "fetch-100", "fetch 100, hit", 0.50, 100
    near_bound = 0.35


class Fetch1000(Fetch):
    name, title, bound, rows = "fetch-1000", "fetch 1,000, hit", 0.45, 1000
    near_bound = 0.4
    calls = 3


class SelectRelated(Hit):
    name, title, bound = "select-related", "select_related 2 x 100, hit", 0.52
    near_bound = 0.4

    def call(self) -> Any:
        return list(Book.objects.filter(genre=GENRE).select_related("author", "publisher").order_by("pk")[:100])


class Prefetch(Hit):
    name, title, bound = "prefetch", "prefetch m2m over 100, hit", 0.40
    near_bound = 0.3
    calls = 3

    def call(self) -> Any:
        return list(Book.objects.filter(genre=GENRE).prefetch_related("tags").order_by("pk")[:100])


class Values(Hit):
    name, title, bound = "values", "values of 2 columns x 100, hit", 0.60
    near_bound = 0.35

    def call(self) -> Any:
        return list(Book.objects.filter(genre=GENRE).order_by("pk").values("id", "title")[:100])


class Count(Hit):
    name, title, bound = "count", "count, hit", 0.45
    near_bound = 0.2

    def call(self) -> Any:
        return Book.objects.filter(genre=GENRE).count()


class Exists(Hit):
    name, title, bound = "exists", "exists, hit", 0.45
    near_bound = 0.2

    def call(self) -> Any:
        return Book.objects.filter(genre=GENRE).exists()


class Aggregate(Hit):
    name, title, bound = "aggregate", "aggregate, hit", 0.45
    near_bound = 0.2

    def call(self) -> Any:
        return Book.objects.filter(genre=GENRE).aggregate(Avg("pages"))


class Join(Hit):
    name, title, bound = "join", "join of three tables, 20 rows, hit", 0.52
    near_bound = 0.3

    def call(self) -> Any:
        return list(Book.objects.filter(author__country__name="Country 3").order_by("pk")[:20])


class Miss(Operation):
    """Each call reads something that was not read before."""

    adds = True

    def prepare(self) -> None:
        self.number = 0

    def before(self) -> None:
        self.number += 1


class MissGet(Miss):
    name, title, bound = "miss-get", "miss, get by pk: adds", 0.40

    def call(self) -> Any:
        # From the last row backwards: no other operation reads these rows.
        return Book.objects.get(pk=self.scale.books - self.number)


class MissFetch(Miss):
    name, title, bound = "miss-fetch", "miss, fetch 20: adds", 0.40

    def call(self) -> Any:
        return list(Book.objects.filter(author=1 + self.number % 100, pages__gt=-self.number).order_by("pk")[:20])


READS = (
    Get,
    ForeignKey,
    Fetch20,
    Fetch100,
    Fetch1000,
    SelectRelated,
    Prefetch,
    Values,
    Count,
    Exists,
    Aggregate,
    Join,
    MissGet,
    MissFetch,
)
