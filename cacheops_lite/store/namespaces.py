"""Prefixes of keys: what ``CACHEOPS_PREFIX`` returns, by which projects, hosts or tenants share one Redis, and then the
name of the database (see `database_names`).

A value has the prefix of its whole query.  The versions of a table have the prefix for a query of this table alone: a
write knows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from ..conf import on_change, settings
from ..schema import tracked_columns
from .database_names import database_name, database_names, other_names
from .keys import KIND_PATTERN, NAMESPACE, name_in_keys
from .write_set import WriteSet


class PrefixQuery:
    """The argument of a prefix function.

    `dbs` are the aliases of the databases and `tables` the names of the tables that a result depends on; both are empty
    for the simple cache.  `func` is the decorated function, None for a queryset and for a write.
    """

    def __init__(
        self, func: Callable[..., object] | None = None, dbs: Iterable[str] = (), tables: Iterable[str] = ()
    ) -> None:
        self.func = func
        self.dbs = list(dbs)
        self.tables = list(tables)

    @property
    def db(self) -> str:
        """The single database.  Raises ImproperlyConfigured if there is none or more than one."""
        return _only("database", self.dbs)

    @property
    def table(self) -> str:
        """The single table.  Raises ImproperlyConfigured if there is none or more than one."""
        return _only("table", self.tables)


class NotSingle(ImproperlyConfigured):
    """A prefix function asked for the single database or table of a query that has none or several."""


def _only(what: str, names: Sequence[str]) -> str:
    if len(names) != 1:
        used = f"several are used: {', '.join(names)}" if names else "none is used"
        raise NotSingle(f"CACHEOPS_PREFIX asks for the single {what} of a query, but {used}")
    return names[0]


def check_prefix() -> None:
    """Raise ImproperlyConfigured if ``CACHEOPS_PREFIX`` is neither a text nor a function; does not call it."""
    _prefix_function()


def prefix_of(func: Callable[..., object] | None = None, dbs: Sequence[str] = (), tables: Iterable[str] = ()) -> str:
    """Return the prefix of a value; without `dbs` it is one of the default database.

    Raises ImproperlyConfigured if ``CACHEOPS_PREFIX`` is invalid.
    """
    name = database_name(dbs[0] if dbs else DEFAULT_DB_ALIAS)
    function = _prefix_function()
    return name if function is None else _checked(function(PrefixQuery(func, dbs, tables))) + name


def prefix_of_table(table: str, using: str) -> str:
    """Return the prefix of a table's versions for reads on the database `using`; `table` is its name in keys."""
    if _prefix_function() is None:
        return database_name(using)
    return prefix_of(dbs=[using], tables=[unquote(table)])


def prefixes_of_tables(tables: Sequence[str], using: str) -> tuple[str, tuple[str, ...]]:
    """Return what `prefix_of` returns for a value that depends on `tables`, and `prefix_of_table` for each of them."""
    if _prefix_function() is None:
        name = database_name(using)
        return name, (name,) * len(tables)
    return prefix_of(dbs=[using], tables=tables), tuple(prefix_of_table(name_in_keys(each), using) for each in tables)


def prefixes_of_row(table: str, table_in_keys: str, using: str) -> tuple[str, str]:
    """Return what `prefix_of` and `prefix_of_table` return for a row of a table."""
    if _prefix_function() is None:
        name = database_name(using)
        return name, name
    return prefix_of(dbs=[using], tables=[table]), prefix_of_table(table_in_keys, using)


def prefixes_of_table(table: str) -> list[str]:
    """Return the prefixes of a table's versions for reads on any database: a write on one may be read on another."""
    function = _prefix_function()
    if function is None:
        return database_names()
    found = [prefix_of_table(table, alias) for alias in connections]
    if other_names:
        query = PrefixQuery(None, [DEFAULT_DB_ALIAS], [unquote(table)])
        found += [_checked(function(query)) + name for name in [*other_names.values()]]
    return list(dict.fromkeys(found))


def all_prefixes() -> list[str]:
    """Return all prefixes known now: that of the simple cache and those of all tables."""
    if _prefix_function() is None:
        return database_names()
    tables = [prefix for table in tracked_columns() for prefix in prefixes_of_table(name_in_keys(table))]
    # If the function cannot answer for the simple cache, the simple cache cannot be used either.
    with suppress(NotSingle):
        tables.insert(0, prefix_of())
    return list(dict.fromkeys(tables))


def prefixes_with_name(name: str) -> list[str]:
    """Return those of all known prefixes that end with the name of a database."""
    return [prefix for prefix in all_prefixes() if prefix.endswith(name)]


def prefixes_of_database(using: str) -> list[str]:
    """Return the prefixes of the versions of all tables for reads on a database."""
    if _prefix_function() is None:
        return [database_name(using)]
    return list(dict.fromkeys(prefix_of_table(name_in_keys(table), using) for table in tracked_columns()))


def split_by_prefix(write_set: WriteSet) -> dict[str, WriteSet]:
    """Divide `write_set` by the prefixes of its tables.  The first part has all causes: they are published once."""
    if _prefix_function() is None:
        first, *others = database_names()
        return {first: write_set, **{name: write_set.copied_without_causes() for name in others}}
    parts: dict[str, WriteSet] = (
        {prefix: WriteSet(everything=True) for prefix in all_prefixes()} if write_set.everything else {}
    )
    for table in write_set.all_tables():
        part = WriteSet([change for change in write_set.changes if change.table == table], write_set.tables & {table})
        for prefix in prefixes_of_table(table):
            parts.setdefault(prefix, WriteSet()).add(part)
    next(iter(parts.values()), write_set).causes.extend(write_set.causes)
    return parts


_cached_function: Callable[[PrefixQuery], object] | None = None
_is_loaded = False


def _prefix_function() -> Callable[[PrefixQuery], object] | None:
    global _cached_function, _is_loaded
    if not _is_loaded:
        _cached_function, _is_loaded = _import_function(settings.CACHEOPS_PREFIX), True
    return _cached_function


@on_change
def _reset(setting: str) -> None:
    global _is_loaded
    _is_loaded = False


# What a string must look like to be a path; any other string is the prefix itself.
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def _import_function(function: object) -> Callable[[PrefixQuery], object] | None:
    if isinstance(function, str) and function:
        if not _DOTTED_PATH.fullmatch(function):
            prefix = _checked(function, "is")
            return lambda query: prefix
        try:
            function = import_string(function)
        except ImportError as error:
            plain = f"{function}:"
            why = f": {error}. If this is the prefix itself, write {plain!r}: without a colon it counts as a path"
            raise _misconfigured(function, why) from error
    if function is None or function == "":
        return None
    if not callable(function):
        raise _misconfigured(function)
    return function


def _misconfigured(function: object, why: str = "") -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"CACHEOPS_PREFIX should be a text, a function that takes a query, or its dotted path, not {function!r}{why}"
    )


def _checked(prefix: object, verb: str = "returned") -> str:
    if not isinstance(prefix, str):
        raise ImproperlyConfigured(f"CACHEOPS_PREFIX {verb} {prefix!r}; it should be a str")
    if found := re.search(NAMESPACE + KIND_PATTERN, prefix):
        raise ImproperlyConfigured(
            f"CACHEOPS_PREFIX {verb} {prefix!r}; {found.group()!r} in it looks like the beginning of a cache key"
        )
    return prefix
