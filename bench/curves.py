"""How cost grows.  A curve shows one quantity over another; each point is arranged first, then measured."""

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

# Columns of numbers, texts and dates for conditions; a book meets any combination of them.
COLUMNS = ("genre", "shelf", "pages", "author_id", "publisher_id", "in_print", "title", "isbn", "price", "published")
BOOK = 17


class Curve:
    name: ClassVar[str]
    title: ClassVar[str]
    x: ClassVar[str]
    unit: ClassVar[str] = "us"
    points: ClassVar[tuple[int, ...]]
    # The result is the median of so many rounds; the figure of a round is the median of so many steps.
    rounds: ClassVar[int] = 25
    steps: ClassVar[int] = 5
    only: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def rounds_at(cls, x: int) -> int:
        """Return how many rounds include the point `x`."""
        return cls.rounds

    def __init__(self, peer: Peer):
        self.peer = peer
        self.client = redis.Redis.from_url(peer.redis_url)

    def arrange(self, x: int) -> None:
        """Prepare the figures at `x`; not measured."""
        empty(self.client)

    def figure(self, x: int) -> float:
        return statistics.median(self.step(x) for _ in range(self.steps))

    def step(self, x: int) -> float:
        raise NotImplementedError


class Single(Curve):
    """A curve whose figures are not times in Python, so one step is accurate enough."""

    rounds = steps = 1


class Dependents(Single):
    name, title = "dependents", "one change, by results that depend on the row: Redis time"
    x = "results"
    points = (10, 100, 1_000, 10_000, 100_000)
    rounds = 3

    @classmethod
    def rounds_at(cls, x: int) -> int:
        # It takes minutes to cache so many results.
        return 1 if x == cls.points[-1] else cls.rounds

    def arrange(self, x: int) -> None:
        super().arrange(x)
        depend(range(x))

    def step(self, x: int) -> float:
        return time_of_change(self.client)


class Shapes(Curve):
    """A save that invalidates a result of each dependency shape."""

    name, title = "shapes", "save, by dependency shapes of the table"
    x = "shapes"
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
    """Reads with more and more conditions; `number` makes equal reads different without a condition on equality."""

    def arrange(self, x: int) -> None:
        super().arrange(x)
        self.book = Book.objects.get(pk=BOOK)
        self.number = 0
        self.read(x)

    def read(self, x: int) -> list[Book]:
        raise NotImplementedError


class Conditions(Query):
    x = "conditions"
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


class ConditionsHit(Conditions, Hit):
    name, title = "conditions-hit", "hit, by conditions of the query"


class ConditionsMiss(Conditions, Miss):
    name, title = "conditions-miss", "miss, by conditions of the query"


class AlternativesHit(Alternatives, Hit):
    name, title = "values-hit", "hit, by values of an IN"


class AlternativesMiss(Alternatives, Miss):
    name, title = "values-miss", "miss, by values of an IN"


class Churn(Single):
    """A day in which results that depend on one row expire and are replaced each hour; `live` exist at a time."""

    name, title = "churn", "members of a row's conjunction set, over a day"
    x, unit = "hours, 1,000 live results", "members"
    points = tuple(range(1, 25))
    # The insideout modes have no conjunction sets.
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


class Memory(Single):
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
    """Return whether the key is that of a function's cached result, of cacheops or of this library."""
    return key.startswith((b"as:", b"cacheops:v:"))


def _timed(call: Callable[[], Any]) -> float:
    """Return the microseconds that a call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


CURVES: dict[str, type[Curve]] = {
    each.name: each
    for each in (
        Dependents,
        Shapes,
        Rows,
        ConditionsHit,
        ConditionsMiss,
        AlternativesHit,
        AlternativesMiss,
        Churn,
        Memory,
    )
}
