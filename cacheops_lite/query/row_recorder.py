"""Capture the rows that a compiler yields, after converters, for the queryset's iterable; replay them to it on a hit.

So ``select_related``, annotations, ``values()``, proxies, ``from_db`` and ``post_init`` behave as without a cache.
Stored rows name no class, and results share no objects.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from django.db import DatabaseError, connections
from django.db.models import QuerySet

from ..schema import field_traits
from ..utils import error_boundary
from .hydrator import with_fast_models
from .key_columns import KeyColumns, Selection

logger = logging.getLogger("cacheops_lite")

Row = tuple[Any, ...]


class Capture:
    """The evaluation of a queryset, whose rows are kept.

    It uses `compiler` if given; `mutable` are then the positions of columns whose values may be changed in place.  With
    `key_columns` it selects these as well, which are no part of the kept rows.
    """

    def __init__(
        self, compiler: Any = None, mutable: Sequence[int] = (), key_columns: KeyColumns | None = None
    ) -> None:
        self._compiler, self._mutable, self._key_columns = compiler, mutable, key_columns
        self._selection: Selection | None = None
        self._rows: list[Row] = []
        self._passes = 0
        # The error of a value that can't be copied.  Then no rows are kept, as the application may change the value.
        self.error: Exception | None = None

    @property
    def rows(self) -> list[Row] | None:
        """The captured rows, None if the iterable did not read them exactly once or a value can't be copied."""
        return self._rows if self._passes == 1 and self.error is None else None

    @property
    def keys(self) -> list[set[int] | None] | None:
        """The keys that were selected, by the number in their targets; None if none were, or no row came back."""
        return None if self._selection is None else self._selection.keys

    def results(self, queryset: QuerySet[Any]) -> list[Any]:
        """Evaluate `queryset` and return its results.

        Where the database refuses to select the keys as well, it is asked again without them.
        """
        compiler: Any = self._compiler or queryset.query.get_compiler(using=queryset.db)
        if self._key_columns is None:
            return self._evaluated(queryset, compiler)
        attach = partial(self._key_columns.attach, compiler, queryset.query)
        self._selection = error_boundary.call_or_default("The keys of a query can't be selected", attach, None)
        try:
            return self._evaluated(queryset, compiler)
        except DatabaseError as error:
            if self._selection is None or not self._selection.number:
                raise
            # It may be for another reason: then it fails again.
            self._key_columns.skip()
            if not connections[queryset.db].get_autocommit() or connections[queryset.db].in_atomic_block:
                # After the error the transaction may be unusable.
                raise
            self._compiler = self._selection = None
            self._rows, self._passes, self.error = [], 0, None
            found = self._evaluated(queryset, queryset.query.get_compiler(using=queryset.db))
            self._key_columns.refuse()
            logger.warning("The database refuses to select the keys of a query, which was read without them: %s", error)
            return found

    def _evaluated(self, queryset: QuerySet[Any], compiler: Any) -> list[Any]:
        selection, execute_sql, results_iter = self._selection, compiler.execute_sql, compiler.results_iter

        def execute_with_fast_models(*args: Any, **kwargs: Any) -> Any:
            cursor_rows = execute_sql(*args, **kwargs)
            if compiler.klass_info is not None:
                compiler.klass_info = with_fast_models(compiler.klass_info)
            return cursor_rows

        def capture_rows(*args: Any, **kwargs: Any) -> Iterator[Any]:
            self._passes += 1
            mutable = self._mutable if self._compiler else mutable_columns(compiler.select)
            for row in results_iter(*args, **kwargs):
                if selection is not None:
                    row = selection.without_keys(row)
                self._keep(row, mutable)
                yield row

        compiler.execute_sql, compiler.results_iter = execute_with_fast_models, capture_rows
        return iterate(queryset, compiler)

    def _keep(self, row: Sequence[Any], mutable: Sequence[int]) -> None:
        if self.error is not None:
            return
        try:
            self._rows.append(defensive_copy(row, mutable) if mutable else tuple(row))
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            self.error = error


def mutable_columns(select: Any) -> list[int]:
    """Return the positions of selected columns whose values may be changed in place."""
    return mutable_positions(getattr(each[0], "_output_field_or_none", None) for each in select or ())


def mutable_positions(fields: Iterable[Any]) -> list[int]:
    """Return the positions of fields whose values may be changed in place: all but Django's own plain fields."""
    return [i for i, field in enumerate(fields) if field is None or not field_traits.loads_immutable_values(field)]


def defensive_copy(row: Sequence[Any], mutable: Iterable[int]) -> Row:
    """Return a copy of the row that stays unchanged when the application changes values of its instance in place.

    `mutable` are the positions of values to copy.  Raises what copying a value raises.
    """
    copied = list(row)
    # Rows of a union may have fewer columns than its first part.
    for i in (each for each in mutable if each < len(copied)):
        # PostgreSQL drivers yield memoryviews, which can be neither copied nor changed.
        if type(copied[i]) is not memoryview:
            check_pickling_keeps_attributes(copied[i])
            copied[i] = copy.deepcopy(copied[i])
    return tuple(copied)


def check_pickling_keeps_attributes(value: Any) -> None:
    """Raise TypeError for a value that loses attributes when it is pickled, or what pickling it raises.

    Instances of subclasses of Decimal and of dates and times lose them, as they inherit their base's ``__reduce__``.
    """
    attributes = getattr(value, "__dict__", None)
    if attributes and vars(pickle.loads(pickle.dumps(value))).keys() != attributes.keys():
        raise TypeError(f"{type(value).__qualname__} loses attributes when it is pickled")


def is_replayable(queryset: QuerySet[Any]) -> bool:
    """Return whether the queryset's iterable is Django's own, which needs no more than `ReplayCompiler` has."""
    return queryset._iterable_class.__module__ == "django.db.models.query"


def replay(queryset: QuerySet[Any], compiler: Any, rows: Sequence[Row]) -> list[Any]:
    """Return the results of `queryset`, made from `rows` instead of the database; `compiler` has composed its SQL."""
    compiler.execute_sql = lambda *args, **kwargs: rows
    compiler.results_iter = lambda *args, **kwargs: iter(rows)
    return iterate(queryset, compiler)


def iterate(queryset: QuerySet[Any], compiler: Any) -> list[Any]:
    """Return what the queryset's iterable makes of the rows of `compiler`."""
    iterable: Any = queryset._iterable_class
    return list(iterable(_QuerySetWithCompiler(queryset, _QueryWithCompiler(queryset.query, compiler))))


class _QuerySetWithCompiler:
    """A queryset as its iterable sees it: with a query that has a given compiler."""

    def __init__(self, queryset: QuerySet[Any], query: _QueryWithCompiler):
        self._cacheops_queryset = queryset
        self.query = query

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_queryset, name)


class _QueryWithCompiler:
    """A query whose ``get_compiler()`` returns a given compiler."""

    def __init__(self, query: Any, compiler: Any):
        self._cacheops_query = query
        self.get_compiler: Callable[..., Any] = lambda *args, **kwargs: compiler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_query, name)
