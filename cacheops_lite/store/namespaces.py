"""Prefixes of keys: ``CACHEOPS_PREFIX``, by which projects, hosts or tenants share one Redis.

A value lies under the prefix of its whole query.  Generations and versions of a table lie under the prefix that this
table alone gets, which is all that a write can know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from ..conf import on_change, settings
from ..schema import tracked_columns
from .keys import KINDS, NAMESPACE, name_in_keys
from .write_set import WriteSet


class PrefixQuery:
    """What a prefix function gets.

    `dbs` are the aliases of the databases and `tables` the names of the tables that a result rests on, both empty for
    the simple cache; `func` is the decorated function, None for a queryset and for a write.
    """

    def __init__(
        self, func: Callable[..., object] | None = None, dbs: Iterable[str] = (), tables: Iterable[str] = ()
    ) -> None:
        self.func = func
        self.dbs = list(dbs)
        self.tables = list(tables)

    @property
    def db(self) -> str:
        """The only one of `dbs`.  Raises ImproperlyConfigured if there is none or more."""
        return _only("database", self.dbs)

    @property
    def table(self) -> str:
        """The only one of `tables`.  Raises ImproperlyConfigured if there is none or more."""
        return _only("table", self.tables)


class NotSingle(ImproperlyConfigured):
    """A prefix function asked for the only database or table of a query that has none or several."""


def _only(what: str, names: Sequence[str]) -> str:
    if len(names) != 1:
        used = f"several are used: {', '.join(names)}" if names else "none is used"
        raise NotSingle(f"CACHEOPS_PREFIX asks for the single {what} of a query, but {used}")
    return names[0]


def prefix_of(func: Callable[..., object] | None = None, dbs: Iterable[str] = (), tables: Iterable[str] = ()) -> str:
    """The prefix of a value.  Raises ImproperlyConfigured when ``CACHEOPS_PREFIX`` makes no sense."""
    function = _function()
    return "" if function is None else _checked(function(PrefixQuery(func, dbs, tables)))


def prefix_of_table(table: str, using: str) -> str:
    """The prefix that reads on the database `using` have for table versions and versions of a table, by its name in keys."""
    if _function() is None:
        return ""
    return prefix_of(dbs=[using], tables=[unquote(table)])


def prefixes_of_table(table: str) -> list[str]:
    """All prefixes that reads may have for a table: what is written by one database may be read by way of another."""
    if _function() is None:
        return [""]
    return list(dict.fromkeys(prefix_of_table(table, alias) for alias in connections))


def all_prefixes() -> list[str]:
    """All prefixes that can be told now: of the simple cache and of all tables."""
    if _function() is None:
        return [""]
    tables = [prefix for table in tracked_columns() for prefix in prefixes_of_table(name_in_keys(table))]
    # Where it can't be told, the simple cache can't be used either.
    with suppress(NotSingle):
        tables.insert(0, prefix_of())
    return list(dict.fromkeys(tables))


def prefixes_of_database(using: str) -> list[str]:
    """The prefixes that reads on a database have for its tables."""
    if _function() is None:
        return [""]
    return list(dict.fromkeys(prefix_of_table(name_in_keys(table), using) for table in tracked_columns()))


def by_prefix(write_set: WriteSet) -> dict[str, WriteSet]:
    """`write_set` divided by the prefixes of the tables that it is about; whoever is to be told is told once."""
    if _function() is None:
        return {"": write_set}
    parts: dict[str, WriteSet] = (
        {prefix: WriteSet(everything=True) for prefix in all_prefixes()} if write_set.everything else {}
    )
    for table in write_set.all_tables():
        part = WriteSet([change for change in write_set.changes if change.table == table], write_set.tables & {table})
        for prefix in prefixes_of_table(table):
            parts.setdefault(prefix, WriteSet()).add(part)
    next(iter(parts.values()), write_set).notices.extend(write_set.notices)
    return parts


_cached_function: Callable[[PrefixQuery], object] | None = None
_is_known = False


def _function() -> Callable[[PrefixQuery], object] | None:
    global _cached_function, _is_known
    if not _is_known:
        _cached_function, _is_known = _load(settings.CACHEOPS_PREFIX), True
    return _cached_function


@on_change
def _forget(setting: str) -> None:
    global _is_known
    _is_known = False


def _load(function: object) -> Callable[[PrefixQuery], object] | None:
    if isinstance(function, str) and function:
        try:
            function = import_string(function)
        except ImportError as error:
            raise _misconfigured(function, f": {error}") from error
    if function is None or function == "":
        return None
    if not callable(function):
        raise _misconfigured(function)
    return function


def _misconfigured(function: object, why: str = "") -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"CACHEOPS_PREFIX should be a function that takes a query, or its dotted path, not {function!r}{why}"
    )


def _checked(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise ImproperlyConfigured(f"CACHEOPS_PREFIX returned {prefix!r}; it should be a str")
    if found := re.search(NAMESPACE + KINDS, prefix):
        raise ImproperlyConfigured(
            f"CACHEOPS_PREFIX returned {prefix!r}; {found.group()!r} in it looks like the beginning of a cache key"
        )
    return prefix
