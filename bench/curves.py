"""How cost grows.  A curve is one quantity over another; at each point it is arranged, then its figure taken."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

import redis

from .library.models import Book
from .peers import CACHEOPS, OURS, Peer
from .redisdbs import empty
from .resources import depend, memory, time_of_change

# Columns of numbers, words and days to make conditions of, of which a book meets any number.
COLUMNS = ("genre", "shelf", "pages", "author_id", "publisher_id", "in_print", "title", "isbn", "price", "published")
BOOK = 17


class Curve:
    name: ClassVar[str]
    title: ClassVar[str]
    x: ClassVar[str]
    unit: ClassVar[str] = "us"
    points: ClassVar[tuple[int, ...]]
    # Rounds over all points, of which medians are taken; each figure is itself the median of so many steps.
    rounds: ClassVar[int] = 25
    steps: ClassVar[int] = 5
    only: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def rounds_at(cls, x: int) -> int:
        """How many rounds include the point `x`."""
        return cls.rounds

    def __init__(self, peer: Peer):
        self.peer = peer
        self.client = redis.Redis.from_url(peer.redis_url)

    def arrange(self, x: int) -> None:
        """Before the figures at `x`, not measured."""
        empty(self.client)

    def figure(self, x: int) -> float:
        return statistics.median(self.step(x) for _ in range(self.steps))

    def step(self, x: int) -> float:
        raise NotImplementedError


class Once(Curve):
    """What is not a matter of microseconds in Python, and so is exact or comes in one piece."""

    rounds = steps = 1


class Dependents(Once):
    name, title = "dependents", "one change, by results that rest on the row: Redis time"
    x = "results"
    points = (10, 100, 1_000, 10_000, 100_000)
    rounds = 3

    @classmethod
    def rounds_at(cls, x: int) -> int:
        # It takes minutes to come by so many results.
        return 1 if x == cls.points[-1] else cls.rounds

    def arrange(self, x: int) -> None:
        super().arrange(x)
        depend(range(x))

    def step(self, x: int) -> float:
        return time_of_change(self.client)


class Schemes(Curve):
    """A save that invalidates a result of each scheme."""

    name, title = "schemes", "save, by schemes of the table"
    x = "schemes"
    points = (1, 2, 5, 10, 20, 50, 100, 200)
    rounds, steps = 15, 2

    def arrange(self, x: int) -> None:
        super().arrange(x)
        self.book = Book.objects.get(pk=BOOK)

    def step(self, x: int) -> float:
        for columns in itertools.islice(_subsets(COLUMNS), x):
            list(Book.objects.filter(**_conditions(self.book, columns)).order_by("pk")[:1])
        self.book.pages = 100 + self.book.pages % 100
        return _timed(self.book.save)


class Rows(Curve):
    name, title = "rows", "hit, by rows of the result"
    x = "rows"
    points = (1, 10, 100, 1_000, 10_000)
    rounds, steps = 15, 3

    def arrange(self, x: int) -> None:
        super().arrange(x)
        self.read(x)

    def read(self, x: int) -> list[Book]:
        return list(Book.objects.filter(pages__gt=0).order_by("pk")[:x])

    def step(self, x: int) -> float:
        return _timed(lambda: self.read(x))


class Query(Curve):
    """Reads whose conditions grow; `number` tells apart those that are alike, and makes no term."""

    def arrange(self, x: int) -> None:
        super().arrange(x)
        self.book = Book.objects.get(pk=BOOK)
        self.number = 0
        self.read(x)

    def read(self, x: int) -> list[Book]:
        raise NotImplementedError


class Terms(Query):
    x = "terms"
    points = (1, 2, 4, 6, 8, 10)

    def read(self, x: int) -> list[Book]:
        return list(Book.objects.filter(**_conditions(self.book, COLUMNS[:x]), pk__gt=-self.number).order_by("pk")[:1])


class Alternatives(Query):
    x = "values"
    points = (1, 2, 4, 8, 9, 16, 32, 64)

    def read(self, x: int) -> list[Book]:
        shelves = [self.book.shelf, *range(1000, 999 + x)]
        return list(Book.objects.filter(shelf__in=shelves, pk__gt=-self.number).order_by("pk")[:1])


class Hit(Query):
    def step(self, x: int) -> float:
        return _timed(lambda: self.read(x))


class Miss(Query):
    def step(self, x: int) -> float:
        self.number += 1
        return _timed(lambda: self.read(x))


class TermsHit(Terms, Hit):
    name, title = "terms-hit", "hit, by terms of the query"


class TermsMiss(Terms, Miss):
    name, title = "terms-miss", "miss, by terms of the query"


class AlternativesHit(Alternatives, Hit):
    name, title = "values-hit", "hit, by values of an IN"


class AlternativesMiss(Alternatives, Miss):
    name, title = "values-miss", "miss, by values of an IN"


class Churn(Once):
    """A day in which results on one row come and time out: so many live at a time, and are others each hour."""

    name, title = "churn", "members of a row's set of results, over a day"
    x, unit = "hours, 1,000 live results", "members"
    points = tuple(range(1, 25))
    # The insideout modes have no sets.
    only = frozenset({CACHEOPS.name, OURS.name})
    live = 1_000

    def arrange(self, x: int) -> None:
        if x == 1:
            empty(self.client)
        for key in self.client.scan_iter(match="*", count=1000, _type="string"):
            if _is_result(key):
                self.client.pexpire(key, 1)
        time.sleep(0.01)
        depend(range(x * self.live, (x + 1) * self.live))

    def step(self, x: int) -> float:
        return max(map(self.client.scard, self.client.scan_iter(count=1000, _type="set")))


class Memory(Once):
    name, title = "memory", "memory per cached row, by rows of the result"
    x, unit = "rows", "bytes"
    points = (1, 10, 100, 1_000)
    results = 50

    def arrange(self, x: int) -> None:
        super().arrange(x)
        for number in range(self.results):
            list(Book.objects.filter(genre=1, pages__gt=-number).order_by("pk")[:x])

    def step(self, x: int) -> float:
        return memory(self.client) / self.results / x


def _subsets(columns: tuple[str, ...]) -> Any:
    return itertools.chain.from_iterable(itertools.combinations(columns, n) for n in range(1, len(columns) + 1))


def _conditions(book: Book, columns: tuple[str, ...]) -> dict[str, Any]:
    return {column: getattr(book, column) for column in columns}


def _is_result(key: bytes) -> bool:
    """A function's cached result, of cacheops or of ours."""
    return key.startswith((b"as:", b"cacheops:v:"))


def _timed(call: Callable[[], Any]) -> float:
    """Microseconds."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


CURVES: dict[str, type[Curve]] = {
    each.name: each
    for each in (
        Dependents,
        Schemes,
        Rows,
        TermsHit,
        TermsMiss,
        AlternativesHit,
        AlternativesMiss,
        Churn,
        Memory,
    )
}
