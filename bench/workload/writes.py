"""Writes as an application makes them.  The number of rows stays about the same, however long they go on."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F

from ..library.amounts import TAGS
from ..library.models import Author, Book
from .population import Population
from .zipf import Zipf

# How many books one bulk operation creates, updates or deletes.
BULK = 10


class Writes:
    """All kinds of writes; each call of one concerns a book that is drawn by its popularity."""

    def __init__(self, population: Population, zipf: Zipf, rng: random.Random):
        self._population, self._zipf, self._rng = population, zipf, rng
        # The primary keys of the books that this process has created in bulk and not yet deleted.
        self._created: list[int] = []
        weights: dict[Callable[[], Callable[[], Any]], int] = {
            self.save: 30,
            self.save_some_fields: 15,
            self.update: 20,
            self.replace: 8,
            self.change_tags: 8,
            self.rename_author: 6,
            self.update_shelf: 5,
            self.update_in_bulk: 4,
            self.create_or_delete_in_bulk: 4,
        }
        self._kinds, self._weights = list(weights), list(itertools.accumulate(weights.values()))

    def prepare_any(self) -> Callable[[], Any]:
        """Prepare one write, of a kind that is drawn by its weight, and return the function that makes it.

        Raises DoesNotExist if another process is replacing the row.
        """
        return self._rng.choices(self._kinds, cum_weights=self._weights)[0]()

    def save(self) -> Callable[[], Any]:
        book = Book.objects.get(pk=self._zipf.pk())
        self._change(book)
        return book.save

    def save_some_fields(self) -> Callable[[], Any]:
        book = Book.objects.get(pk=self._zipf.pk())
        self._change(book)
        return lambda: book.save(update_fields=["pages", "price"])

    def update(self) -> Callable[[], Any]:
        pk, price = self._zipf.pk(), self._price()
        return lambda: Book.objects.filter(pk=pk).update(price=price)

    def replace(self) -> Callable[[], Any]:
        """Delete a book and create another one with its primary key, in one transaction."""
        book = Book.objects.get(pk=self._zipf.pk())
        pk = book.pk

        def replace() -> None:
            with transaction.atomic():
                book.delete()
                self._new_book(pk, self._population.shelf_of(pk)).save(force_insert=True)

        return replace

    def change_tags(self) -> Callable[[], Any]:
        book = Book.objects.get(pk=self._zipf.pk())
        tags = self._rng.sample(range(1, 1 + TAGS), 2)
        return lambda: book.tags.set(tags)

    def rename_author(self) -> Callable[[], Any]:
        author = Author.objects.get(pk=self._population.author_of(self._zipf.pk()))
        author.name = f"Author {self._rng.randrange(10**9)}"
        return author.save

    def update_shelf(self) -> Callable[[], Any]:
        shelf = self._population.shelf_of(self._zipf.pk())
        return lambda: Book.objects.filter(shelf=shelf).update(pages=F("pages") + 1)

    def update_in_bulk(self) -> Callable[[], Any]:
        shelf = self._population.shelf_of(self._zipf.pk())
        books = list(Book.objects.filter(shelf=shelf).order_by("pk")[:BULK])
        for book in books:
            self._change(book)
        return lambda: Book.objects.bulk_update(books, ["pages", "price", "published"])

    def create_or_delete_in_bulk(self) -> Callable[[], Any]:
        if self._created:
            created, self._created = self._created, []
            return Book.objects.filter(pk__in=created).delete
        shelf = self._population.shelf_of(self._zipf.pk())
        books = [self._new_book(None, shelf) for _ in range(BULK)]

        def create() -> None:
            Book.objects.bulk_create(books)
            self._created = [book.pk for book in books]

        return create

    def _change(self, book: Book) -> None:
        book.pages, book.price, book.published = self._rng.randint(50, 10**6), self._price(), self._day()

    def _new_book(self, pk: int | None, shelf: int) -> Book:
        like = self._zipf.pk() if pk is None else pk
        return Book(
            pk=pk,
            title=f"A book that was added later, number {self._rng.randrange(10**9)}",
            isbn=f"979{self._rng.randrange(10**10):010}",
            shelf=shelf,
            genre=self._rng.randrange(4),
            pages=self._rng.randint(50, 10**6),
            price=self._price(),
            published=self._day(),
            in_print=self._rng.random() < 0.5,
            author_id=self._population.author_of(like),
            publisher_id=self._population.publisher_of(like),
        )

    def _price(self) -> Decimal:
        return Decimal(self._rng.randint(500, 9_999_999)) / 100

    def _day(self) -> date:
        return date(1900, 1, 1) + timedelta(days=self._rng.randrange(40_000))
