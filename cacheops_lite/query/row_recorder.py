"""Rows: what the compiler yields after converters, captured on the way to the queryset's iterable and replayed to it.

So ``select_related``, annotations, ``values()``, proxies, ``from_db`` and ``post_init`` behave as without a cache, and
nothing that is stored names a class or is shared.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.db.models import QuerySet

from ..schema import field_traits
from ..utils import error_boundary
from .hydrator import hydrated

Row = tuple[Any, ...]


class Capture:
    """Evaluates a queryset and keeps the rows; `rows` is None if its iterable went another way.

    By `compiler` if there is one, of whose columns those at `mutable` have values that may be changed in place.
    """

    def __init__(self, compiler: Any = None, mutable: Sequence[int] = ()) -> None:
        self._compiler, self._mutable = compiler, mutable
        self._rows: list[Row] = []
        self._passes = 0
        # Why a value could not be copied: what the application then does to it would change what is kept.
        self.error: Exception | None = None

    @property
    def rows(self) -> list[Row] | None:
        return self._rows if self._passes == 1 and self.error is None else None

    def results(self, queryset: QuerySet[Any]) -> list[Any]:
        compiler: Any = self._compiler or queryset.query.get_compiler(using=queryset.db)
        execute_sql, results_iter = compiler.execute_sql, compiler.results_iter

        def executing(*args: Any, **kwargs: Any) -> Any:
            found = execute_sql(*args, **kwargs)
            if compiler.klass_info is not None:
                compiler.klass_info = hydrated(compiler.klass_info)
            return found

        def capturing_iter(*args: Any, **kwargs: Any) -> Iterator[Any]:
            self._passes += 1
            mutable = self._mutable if self._compiler else mutable_of(compiler.select)
            for row in results_iter(*args, **kwargs):
                self._keep(row, mutable)
                yield row

        compiler.execute_sql, compiler.results_iter = executing, capturing_iter
        return iterate(queryset, compiler)

    def _keep(self, row: Sequence[Any], mutable: Sequence[int]) -> None:
        if self.error is not None:
            return
        try:
            self._rows.append(untouchable(row, mutable) if mutable else tuple(row))
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            self.error = error


def mutable_of(select: Any) -> list[int]:
    """The positions of what is selected whose values may be changed in place."""
    return mutable_among(getattr(each[0], "_output_field_or_none", None) for each in select or ())


def mutable_among(fields: Iterable[Any]) -> list[int]:
    """The positions of values that may be changed in place: of all but Django's own plain fields."""
    return [i for i, field in enumerate(fields) if field is None or not field_traits.loads_immutable_values(field)]


def untouchable(row: Sequence[Any], mutable: Iterable[int]) -> Row:
    """A copy of the row that does not change with its values: who makes instances of it may change these in place.

    Raises what a value does when it is copied.
    """
    kept = list(row)
    # Rows of a union may have fewer columns than its first part.
    for i in (each for each in mutable if each < len(kept)):
        # Views of bytes, as drivers of PostgreSQL yield them, can't be copied, nor changed.
        if type(kept[i]) is not memoryview:
            check_keeps_attributes(kept[i])
            kept[i] = copy.deepcopy(kept[i])
    return tuple(kept)


def check_keeps_attributes(value: Any) -> None:
    """Raise TypeError for a value that loses attributes when it is pickled, or what pickling it raises.

    So do instances of subclasses of Decimal and of dates and times, whose reduction is that of their base.
    """
    attributes = getattr(value, "__dict__", None)
    if attributes and vars(pickle.loads(pickle.dumps(value))).keys() != attributes.keys():
        raise TypeError(f"{type(value).__qualname__} loses attributes when it is pickled")


def is_replayable(queryset: QuerySet[Any]) -> bool:
    """Its iterable is Django's own, which asks a compiler for no more than `Replaying` has."""
    return queryset._iterable_class.__module__ == "django.db.models.query"


def replay(queryset: QuerySet[Any], compiler: Any, rows: Sequence[Row]) -> list[Any]:
    """The results of `queryset`, from `rows` instead of the database.  `compiler` has composed its SQL already."""
    compiler.execute_sql = lambda *args, **kwargs: rows
    compiler.results_iter = lambda *args, **kwargs: iter(rows)
    return iterate(queryset, compiler)


def iterate(queryset: QuerySet[Any], compiler: Any) -> list[Any]:
    """What the queryset's iterable makes of what `compiler` finds."""
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

    def __init__(self, query: Any, compiler: Any):
        self._cacheops_query = query
        self.get_compiler: Callable[..., Any] = lambda *args, **kwargs: compiler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_query, name)
