"""Measure what invalidation adds to writes.  As in an application, reads precede each write, which invalidates them."""

from __future__ import annotations

import random
from typing import Any

from django.db import connection, transaction

from .library.amounts import SHELF
from .library.data import book
from .library.models import Book
from .operations import Operation

CREATED = 1000


class Write(Operation):
    adds = True

    def prepare(self) -> None:
        self.number = 0

    def before(self) -> None:
        self.number += 1


def read_around(book: Book) -> None:
    """Read what an application would read of a book before a change: lists that contain it, and a count."""
    list(Book.objects.filter(author=book.author_id))
    list(Book.objects.filter(genre=book.genre).order_by("pk")[:20])
    Book.objects.filter(publisher=book.publisher_id).count()


class Save(Write):
    name, title, bound = "save", "save: adds", 0.22

    def before(self) -> None:
        super().before()
        self.book = Book.objects.get(pk=1 + self.number % 50)
        read_around(self.book)
        self.book.title = f"Save {self.number}"

    def call(self) -> Any:
        self.book.save()


class Saves(Write):
    name, title, bound = "saves", f"{SHELF} saves in one transaction: adds", 0.22
    calls, every, warmups = 1, 4, 0

    def before(self) -> None:
        super().before()
        self.books = list(Book.objects.filter(shelf=1 + self.number % 5).order_by("pk"))
        read_around(self.books[0])
        for each in self.books:
            each.title = f"Saves {self.number}"

    def call(self) -> Any:
        with transaction.atomic():
            for each in self.books:
                each.save()


class BulkCreate(Write):
    name, title, bound = "bulk-create", f"bulk_create of {CREATED:,}: adds", 0.03
    calls, every, warmups = 1, 8, 0

    def before(self) -> None:
        super().before()
        rng = random.Random(self.number)
        self.books = [book(self.scale.books + i, rng) for i in range(CREATED)]
        read_around(Book.objects.get(pk=1))

    def call(self) -> Any:
        Book.objects.bulk_create(self.books)

    def after(self) -> None:
        # Raw SQL is faster; what it invalidates is read again before the next call.
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM library_book WHERE id > %s", [self.scale.books])


class InvalidatedUpdate(Write):
    name, title, bound = "invalidated-update", f"invalidated_update of {SHELF} rows", 0.15
    calls, every, warmups = 1, 4, 0
    adds = False
    only = frozenset({"cacheops", "cacheops-insideout", "ours", "ours-insideout"})

    def before(self) -> None:
        super().before()
        read_around(Book.objects.filter(shelf=7).order_by("pk")[0])

    def call(self) -> Any:
        return Book.objects.filter(shelf=7).invalidated_update(pages=100 + self.number)


WRITES = (Save, Saves, BulkCreate, InvalidatedUpdate)
