"""Create the rows; they are the same in every run."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal

from .amounts import AUTHORS, COUNTRIES, GENRES, PUBLISHERS, SHELF, TAGGED, TAGS
from .models import Author, Book, Country, Note, Publisher, Tag

SEED = 7


def load(books: int) -> None:
    """Fill the empty tables."""
    rng = random.Random(SEED)
    Country.objects.bulk_create(Country(name=f"Country {i}") for i in range(COUNTRIES))
    Author.objects.bulk_create(
        Author(name=f"Author {i}", born=day(rng), country_id=1 + i % COUNTRIES) for i in range(AUTHORS)
    )
    Publisher.objects.bulk_create(
        Publisher(name=f"Publisher {i}", founded=rng.randint(1800, 2020)) for i in range(PUBLISHERS)
    )
    Tag.objects.bulk_create(Tag(name=f"Tag {i}") for i in range(TAGS))
    Note.objects.bulk_create(Note(text=f"Note {i}") for i in range(100))
    Book.objects.bulk_create((book(i, rng) for i in range(books)), batch_size=1000)
    links = Book.tags.through
    links.objects.bulk_create(
        links(book_id=pk, tag_id=tag)
        for pk in range(1, 1 + GENRES * TAGGED)
        for tag in sorted(rng.sample(range(1, 1 + TAGS), 3))
    )


def book(i: int, rng: random.Random) -> Book:
    """Return an unsaved book."""
    return Book(
        title=f"The {i}th book of the library, in one volume",
        isbn=f"978{i:010}",
        shelf=i // SHELF,
        genre=i % GENRES,
        pages=rng.randint(50, 900),
        price=Decimal(rng.randint(500, 9900)) / 100,
        published=day(rng),
        in_print=rng.random() < 0.5,
        author_id=1 + i % AUTHORS,
        publisher_id=1 + i % PUBLISHERS,
    )


def day(rng: random.Random) -> date:
    return date(1900, 1, 1) + timedelta(days=rng.randrange(40_000))
