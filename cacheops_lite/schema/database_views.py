"""Database views that models map to: a write to a view's base tables changes the view, and the other way round.

A base table here is a model's table that a view reads.  The catalog is read once per process and database: when the
first connection is made, before any transaction.
"""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.signals import class_prepared

from ..conf import forget_derived
from ..utils import error_boundary
from . import database_catalog
from .database_catalog import normalized_name
from .tracked_models import cascade_targets, is_tracked, known_tables, reachable, tracked_columns

WORD = re.compile(r"\w+")
# How long after a failure the catalog is not read again.
RETRY_SECONDS = 10


class View(NamedTuple):
    """The base tables of a view, and its definition, followed by those of the views that it reads."""

    base_tables: frozenset[str]
    definition: str


Views = Mapping[str, View]

# By database alias: the name of the database, and its views by their normalized names.
_views: dict[str, tuple[Any, Views]] = {}
# By database alias: the monotonic time at which reading its catalog failed, or RETRY_NOW.
_failed_at: dict[str, float] = {}
RETRY_NOW = float("-inf")
# How often `forget_all` was called: a catalog that was read meanwhile is out of date.
_times_forgotten = 0
# Connections whose open transactions defined views, which other connections cannot see yet.
_defining: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
# Whether `_defining` may contain any.  Each read checks this, and the length of a weak set takes time to compute.
_has_defining = False


def is_table(model: type[Model], using: str) -> bool:
    """Return whether `model` and its parents map to ordinary tables: not to views, nor to tables that replace rows."""
    views = _views_of(using)
    if views is not None and not views:
        return True
    return all(_find_view(each._meta.db_table, using) is None for each in (model, *model._meta.all_parents))


def is_tracked_table(model: type[Model], using: str) -> bool:
    """Return whether the model is tracked and maps to ordinary tables, so that a write can be described row by row."""
    return is_tracked(model) and is_table(model, using)


def is_catalog_known(using: str) -> bool:
    """Return whether the catalog could be read.  If not, each table counts as a view of all others."""
    return _views_of(using) is not None


def base_tables(table: str | None, using: str) -> frozenset[str] | None:
    """Return the base tables of a view, or None if `table` is no view.

    For a table whose constraints replace rows, these are the table itself and its cascade targets, as any write may
    change them.
    """
    view = _find_view(table, using)
    return None if view is None else view.base_tables


def base_tables_of(tables: Iterable[str], using: str) -> set[str]:
    """Return the base tables of all views in `tables`."""
    return set().union(*(base_tables(table, using) or () for table in tables))


def view_definitions(tables: Iterable[str], using: str) -> list[str]:
    """Return the definitions of all views in `tables`."""
    return [view.definition for table in tables if (view := _find_view(table, using)) is not None]


def _find_view(table: str | None, using: str) -> View | None:
    views = _views_of(using)
    if views is None:
        return View(known_tables(), "")
    return views.get(normalized_name(table)) if views and table in known_tables() else None


def _views_of(using: str) -> Views | None:
    """Return the views of a database, or None if its catalog cannot be read."""
    if _has_defining and _has_uncommitted_views(using):
        return _uncommitted_views(using)
    found = _views.get(using)
    return _load(using) if found is None else found[1]


def _load(using: str) -> Views | None:
    failed_at = _failed_at.get(using)
    if failed_at is not None and time.monotonic() < failed_at + RETRY_SECONDS:
        return None
    message = f"The views of the database {using!r} cannot be read, so its queries are not cached"
    times_forgotten = _times_forgotten
    try:
        if not database_catalog.is_readable(using):
            _failed_at[using] = RETRY_NOW
            return None
        # Making the connection may have read them.
        if using in _views:
            return _views[using][1]
        found = _read_views(using)
    except Exception as error:
        error_boundary.log_failure(message, error)
        _failed_at[using] = time.monotonic()
        return None
    if _failed_at.pop(using, None) is not None:
        # Queries that were not cacheable while the views were unknown now are.
        forget_derived("CACHEOPS")
    if times_forgotten == _times_forgotten:
        _views[using] = connections[using].settings_dict["NAME"], found
    return found


def on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Read the catalog when the first connection to a database is made.  A receiver of ``connection_created``."""
    error_boundary.call_or_default("The views of a database cannot be read", lambda: _load_by(connection), None)


def _load_by(connection: BaseDatabaseWrapper) -> None:
    using = connection.alias
    # To create a database, or to begin tests, Django connects the same alias to another database.
    if using in _views and _views[using][0] != connection.settings_dict["NAME"]:
        forget_all()
    if using in _views or not apps.models_ready or not connection.autocommit:
        return
    if using in connections.settings and connections[using] is connection and tracked_columns():
        if using in _failed_at:
            _failed_at[using] = RETRY_NOW
        _load(using)


def _has_uncommitted_views(using: str) -> bool:
    """Return whether the open transaction changed views.  If it is over, forget what is known of views."""
    global _has_defining
    connection = connections[using]
    block = connection.__dict__.get("_cacheops_defining")
    if block is None:
        return False
    if connection.atomic_blocks[:1] == [block]:
        return True
    connection.__dict__.pop("_cacheops_defining", None)
    on_rollback(using)
    _defining.discard(connection)
    _has_defining = bool(_defining)
    forget_all()
    return False


def _uncommitted_views(using: str) -> Views | None:
    """Return the views as the open transaction sees them."""
    attributes = connections[using].__dict__
    found: Views | None = attributes.get("_cacheops_views")
    if found is None:
        message = "The views that a transaction changed cannot be read, so nothing is cached within that transaction"
        try:
            if not database_catalog.is_readable(using):
                _failed_at[using] = RETRY_NOW
                return None
            found = _read_views(using)
        except Exception as error:
            error_boundary.log_failure(message, error)
            _failed_at[using] = RETRY_NOW
            return None
        attributes["_cacheops_views"] = found
    return found


def on_rollback(using: str) -> None:
    """Read the views of the open transaction again: a rollback, maybe to a savepoint, may have undone definitions."""
    if _defining:
        connections[using].__dict__.pop("_cacheops_views", None)


def _read_views(using: str) -> dict[str, View]:
    definitions, replacing = database_catalog.read(using, known_tables())
    # A view whose definition this user may not see may read any table.
    named = {view: _names_in(text, definitions) if text else set(known_tables()) for view, text in definitions.items()}
    found = {}
    for view in named:
        names = reachable(view, lambda each: named.get(normalized_name(each), set()))
        views = {view, *map(normalized_name, names)} & set(definitions)
        tables = {name for name in names if normalized_name(name) not in definitions}
        found[view] = View(frozenset(tables), " ".join(definitions[each] for each in views))
    for table in known_tables():
        if normalized_name(table) in replacing:
            found[normalized_name(table)] = View(frozenset({table, *cascade_targets(table)}), "")
    return found


def _names_in(definition: str, views: Iterable[str]) -> set[str]:
    """Return the tables of models and the views that a definition may read, as it contains their names."""
    words = set(WORD.findall(definition.lower()))
    names = {*known_tables(), *views}
    return {name for name in names if words.issuperset(WORD.findall(normalized_name(name).rpartition(".")[2]))}


def forget(using: str) -> None:
    """Forget the views and all that is derived from them, now and again when the open transaction is over."""
    global _has_defining
    connection = connections[using]
    if connection.in_atomic_block:
        _has_defining = True
        connection.__dict__["_cacheops_defining"] = connection.atomic_blocks[0]
        on_rollback(using)
        _defining.add(connection)
        transaction.on_commit(forget_all, using=using)
    forget_all()


def forget_all() -> None:
    """Forget the views of all databases and all that is derived from them."""
    global _times_forgotten
    _times_forgotten += 1
    if _views or _failed_at:
        _views.clear()
        _failed_at.clear()
        forget_derived("CACHEOPS")


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    # Models of migrations and of isolated tests belong to other `Apps` objects, and are not tracked.
    if sender._meta.apps is apps:
        _views.clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.schema.database_views")
