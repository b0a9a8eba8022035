"""What invalidation adds to writes.  Each write comes after reads that it invalidates, as in an application."""

from __future__ import annotations

import random
from typing import Any

from django.db import connection, transaction

from .library.data import SHELF, book
from .library.models import Book
from .operations import Operation

BATCH = 1000


class Write(Operation):
    adds = True

    def prepare(self) -> None:
        self.number = 0

    def before(self) -> None:
        self.number += 1
        # So that there is something to drop: a row, a list, a number.
        Book.objects.get(pk=1)
        list(Book.objects.filter(author=1))
        Book.objects.filter(genre=1).count()


class Save(Write):
    name, title, bound = "save", "save: adds", 0.35

    def before(self) -> None:
        super().before()
        self.book = Book.objects.get(pk=1 + self.number % 50)
        self.book.title = f"Save {self.number}"

    def call(self) -> Any:
        self.book.save()


class Saves(Write):
    name, title, bound = "saves", "100 saves in one transaction: adds", 0.30
    calls, every, warmups = 1, 4, 0

    def before(self) -> None:
        super().before()
        self.books = list(Book.objects.filter(shelf=1 + self.number % 5))
        for each in self.books:
            each.title = f"Saves {self.number}"

    def call(self) -> Any:
        with transaction.atomic():
            for each in self.books:
                each.save()


class BulkCreate(Write):
    name, title, bound = "bulk-create", "bulk_create of 1,000: adds", 0.05
    calls, every, warmups = 1, 8, 0

    def before(self) -> None:
        super().before()
        chance = random.Random(self.number)
        self.books = [book(self.scale + i, chance) for i in range(BATCH)]

    def call(self) -> Any:
        Book.objects.bulk_create(self.books)

    def after(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM library_book WHERE id > %s", [self.scale])


class InvalidatedUpdate(Write):
    name, title, bound = "invalidated-update", f"invalidated_update of {SHELF} rows", 0.15
    calls, every = 1, 4
    adds = False
    only = frozenset({"cacheops", "cacheops-insideout", "ours", "ours-insideout"})

    def call(self) -> Any:
        return Book.objects.filter(shelf=7).invalidated_update(pages=100 + self.number)


WRITES = (Save, Saves, BulkCreate, InvalidatedUpdate)
