"""Rows: what the compiler yields after converters, captured on the way to the queryset's iterable and replayed to it.

So ``select_related``, annotations, ``values()``, proxies, ``from_db`` and ``post_init`` behave as without a cache, and
nothing that is stored names a class or is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

Row = tuple[Any, ...]


class Capture:
    """Evaluates a queryset and keeps the rows; `rows` is None if its iterable went another way."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._passes = 0

    @property
    def rows(self) -> list[Row] | None:
        return self._rows if self._passes == 1 else None

    def results(self, queryset: QuerySet[Any]) -> list[Any]:
        compiler: Any = queryset.query.get_compiler(using=queryset.db)
        results_iter = compiler.results_iter

        def capturing_iter(*args: Any, **kwargs: Any) -> Iterator[Any]:
            self._passes += 1
            for row in results_iter(*args, **kwargs):
                self._rows.append(tuple(row))
                yield row

        compiler.results_iter = capturing_iter
        return _iterate(queryset, compiler)


def replay(queryset: QuerySet[Any], compiler: Any, rows: Iterable[Row]) -> list[Any]:
    """The results of `queryset`, from `rows` instead of the database.  `compiler` has composed its SQL already."""
    compiler.execute_sql = lambda *args, **kwargs: rows
    compiler.results_iter = lambda *args, **kwargs: iter(rows)
    return _iterate(queryset, compiler)


def _iterate(queryset: QuerySet[Any], compiler: SQLCompiler) -> list[Any]:
    iterable: Any = queryset._iterable_class
    return list(iterable(_Seen(queryset, _SeenQuery(queryset.query, compiler))))


class _Seen:
    """A queryset as its iterable sees it, with another query."""

    def __init__(self, queryset: QuerySet[Any], query: _SeenQuery):
        self._cacheops_queryset = queryset
        self.query = query

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_queryset, name)


class _SeenQuery:
    """A query that has its compiler already."""

    def __init__(self, query: Any, compiler: SQLCompiler):
        self._cacheops_query = query
        self.get_compiler: Callable[..., SQLCompiler] = lambda *args, **kwargs: compiler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_query, name)
