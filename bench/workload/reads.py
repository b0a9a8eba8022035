"""Reads as an application makes them.  Each is one query that is cached by itself."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

from django.db.models import Avg

from ..library.models import Book, Tag
from .population import Population
from .zipf import Zipf

# What ad-hoc reads filter by, besides the shelf, which the database has an index of; and what they select.
FILTERED = ("genre", "pages", "price", "published", "in_print", "author", "publisher", "title", "isbn")
SELECTED = [
    each for n in (2, 3) for each in itertools.combinations(("title", "pages", "price", "published", "isbn"), n)
]


class Reads:
    """All kinds of reads; each call of one concerns a book that is drawn by its popularity."""

    def __init__(self, population: Population, zipf: Zipf, rng: random.Random):
        self._population, self._zipf, self._rng = population, zipf, rng
        weights: dict[Callable[[], Any], int] = {
            self.get: 40,
            self.foreign_key: 15,
            self.two_conditions: 10,
            self.count: 8,
            self.ordered: 8,
            self.values: 6,
            self.related: 5,
            self.exists: 4,
            self.tags: 3,
            self.average: 1,
        }
        self._kinds, self._weights = list(weights), list(itertools.accumulate(weights.values()))

    def any(self) -> Any:
        """Read once, by a kind that is drawn by its weight."""
        return self._rng.choices(self._kinds, cum_weights=self._weights)[0]()

    def get(self) -> Any:
        return Book.objects.get(pk=self._zipf.pk())

    def foreign_key(self) -> Any:
        return Book(author_id=self._population.author_of(self._zipf.pk())).author

    def two_conditions(self) -> Any:
        pk = self._zipf.pk()
        return list(Book.objects.filter(author=self._population.author_of(pk), genre=self._population.genre_of(pk)))

    def count(self) -> Any:
        return Book.objects.filter(shelf=self._shelf()).count()

    def ordered(self) -> Any:
        return list(Book.objects.filter(shelf=self._shelf()).order_by("-published", "pk")[:20])

    def values(self) -> Any:
        author = self._population.author_of(self._zipf.pk())
        return list(Book.objects.filter(author=author).order_by("pk").values("id", "title")[:20])

    def related(self) -> Any:
        books = Book.objects.filter(shelf=self._shelf(), author__country__gt=2)
        return list(books.select_related("author", "publisher").order_by("pk")[:10])

    def exists(self) -> Any:
        return Book.objects.filter(author=self._population.author_of(self._zipf.pk()), in_print=True).exists()

    def tags(self) -> Any:
        return list(Tag.objects.filter(book=self._zipf.pk()).order_by("pk"))

    def average(self) -> Any:
        return Book.objects.filter(shelf=self._shelf()).aggregate(Avg("pages"))

    def ad_hoc(self) -> Any:
        """Filter by another set of columns, and select other columns, than most reads before: another shape."""
        pk = self._zipf.pk()
        known = {
            "genre": self._population.genre_of(pk),
            "author": self._population.author_of(pk),
            "publisher": self._population.publisher_of(pk),
            "in_print": pk % 2 == 1,
            "pages": 50 + (pk - 1) * 7919 % 850,
            "title": f"The {pk - 1}th book of the library, in one volume",
            "isbn": f"978{10**9 + pk - 1}",
            "price": "12.50",
            "published": "1950-01-01",
        }
        chosen = self._rng.sample(FILTERED, self._rng.randint(1, 4))
        books = Book.objects.filter(shelf=self._population.shelf_of(pk), **{name: known[name] for name in chosen})
        return list(books.order_by("pk").values_list(*self._rng.choice(SELECTED))[:20])

    def _shelf(self) -> int:
        return self._population.shelf_of(self._zipf.pk())
