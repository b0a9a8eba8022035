"""The rows of the soak, made by the database itself: a million books take seconds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..library.amounts import COUNTRIES, GENRES, SHELF, TAGS

# The column i of the common table expression `numbers` counts from 0.
NUMBERS = (
    "WITH RECURSIVE numbers(i) AS (SELECT CAST(0 AS bigint) UNION ALL SELECT i + 1 FROM numbers WHERE i < {last}) "
)
DAY = {
    "postgresql": "DATE '1900-01-01' + CAST({n} AS integer)",
    "sqlite": "date('1900-01-01', '+' || ({n}) || ' days')",
}


@dataclass(frozen=True)
class Population:
    """How many rows there are, and to what the book with a primary key belongs before anything is written."""

    books: int

    @property
    def authors(self) -> int:
        return max(self.books // 50, 10)

    @property
    def publishers(self) -> int:
        return max(self.books // 2000, 10)

    def author_of(self, pk: int) -> int:
        return 1 + (pk - 1) % self.authors

    def publisher_of(self, pk: int) -> int:
        return 1 + (pk - 1) % self.publishers

    def shelf_of(self, pk: int) -> int:
        return (pk - 1) // SHELF

    def genre_of(self, pk: int) -> int:
        return (pk - 1) // 3 % GENRES


def fill(population: Population) -> None:
    """Create the tables and fill them."""
    from django.core.management import call_command
    from django.core.management.color import no_style
    from django.db import connection, transaction

    from ..library.models import Author, Book, Country, Publisher, Tag

    call_command("migrate", verbosity=0, run_syncdb=True)
    with transaction.atomic(), connection.cursor() as cursor:
        _leave_keys_unchecked(cursor)
        for number, statement in _statements(population, connection.vendor):
            cursor.execute(NUMBERS.format(last=number - 1) + statement)
        # Rows with given keys do not advance the sequences.
        for statement in connection.ops.sequence_reset_sql(no_style(), [Country, Author, Publisher, Tag, Book]):
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connection.close()


def _leave_keys_unchecked(cursor: Any) -> None:
    """Let PostgreSQL not check foreign keys, which takes most of the time, if its user may say so."""
    from django.db import DatabaseError, connection, transaction

    if connection.vendor == "postgresql":
        with suppress(DatabaseError), transaction.atomic():
            cursor.execute("SET LOCAL session_replication_role = replica")


def _statements(population: Population, vendor: str) -> list[tuple[int, str]]:
    """Return for each table the number of rows and the query that follows `NUMBERS`.

    PostgreSQL and SQLite take the WITH before the INSERT.
    """
    day = DAY[vendor].format
    book: dict[str, Any] = {
        "id": "1 + i",
        "title": "'The ' || i || 'th book of the library, in one volume'",
        "isbn": "'978' || (1000000000 + i)",
        "shelf": f"i / {SHELF}",
        "genre": f"(i / 3) % {GENRES}",
        "pages": "50 + (i * 7919) % 850",
        "price": "(500 + (i * 104729) % 9400) / 100.0",
        "published": day(n="(i * 1299709) % 40000"),
        "in_print": "i % 2 = 0",
        "author_id": f"1 + i % {population.authors}",
        "publisher_id": f"1 + i % {population.publishers}",
    }
    author = {
        "id": "1 + i",
        "name": "'Author ' || i",
        "born": day(n="(i * 7919) % 40000"),
        "country_id": f"1 + i % {COUNTRIES}",
    }
    publisher = {"id": "1 + i", "name": "'Publisher ' || i", "founded": "1800 + i % 220"}
    link = {"book_id": "1 + i / 2", "tag_id": f"1 + (i * 7919) % {TAGS}"}
    return [
        (COUNTRIES, _insert("library_country", {"id": "1 + i", "name": "'Country ' || i"})),
        (population.authors, _insert("library_author", author)),
        (population.publishers, _insert("library_publisher", publisher)),
        (TAGS, _insert("library_tag", {"id": "1 + i", "name": "'Tag ' || i"})),
        (population.books, _insert("library_book", book)),
        # Two for each book of the first half.
        (population.books, _insert("library_book_tags", link)),
    ]


def _insert(table: str, columns: dict[str, str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM numbers"
