"""Views of databases, which models may lie in: what is written to the tables that a view reads changes it, and what is
written to it changes them.

The catalog is read once a process and database, when the first connection is made: before any transaction.
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
from .database_catalog import plain_name
from .tracked_models import deleted_along, is_watched, known_tables, reached, watched_columns

WORD = re.compile(r"\w+")
# A catalog that could not be read is not asked again before.
RETRY_SECONDS = 10


class View(NamedTuple):
    """The tables of models that a view reads, and its definition with those of the views that it reads."""

    tables: frozenset[str]
    text: str


Views = Mapping[str, View]

# By alias of a database: the name of the database, and its views by their names.
_views: dict[str, tuple[Any, Views]] = {}
# By alias: when its catalog could not be read, or that it should be at the next occasion.
_failed: dict[str, float] = {}
AT_ONCE = float("-inf")
# How often what was known was forgotten.
_forgotten = 0
# Connections in whose transactions views were defined, which others can't see yet.
_defining: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
# There may be some: each read asks, and the length of a weak set is computed.
_has_defining = False


def is_table(model: type[Model], using: str) -> bool:
    """The rows of `model` lie in tables of their own, not in a view; nor do constraints replace them."""
    known = _known(using)
    if known is not None and not known:
        return True
    return all(_view(each._meta.db_table, using) is None for each in (model, *model._meta.all_parents))


def is_followed(model: type[Model], using: str) -> bool:
    """The model is watched, and what its rows become can be told of each: not where a view shows others' rows."""
    return is_watched(model) and is_table(model, using)


def are_known(using: str) -> bool:
    """The catalog could be read.  If not, each table counts as a view of all others."""
    return _known(using) is not None


def behind(table: str | None, using: str) -> frozenset[str] | None:
    """The tables of models that a view of the database reads, None if `table` is no view.

    Of a table whose constraints replace rows: it and what the database deletes along, which any write may change.
    """
    view = _view(table, using)
    return None if view is None else view.tables


def all_behind(tables: Iterable[str], using: str) -> set[str]:
    """The tables of models that those of `tables` read which are views."""
    return set().union(*(behind(table, using) or () for table in tables))


def texts_behind(tables: Iterable[str], using: str) -> list[str]:
    """The definitions of those of `tables` that are views."""
    return [view.text for table in tables if (view := _view(table, using)) is not None]


def _view(table: str | None, using: str) -> View | None:
    known = _known(using)
    if known is None:
        return View(known_tables(), "")
    return known.get(plain_name(table)) if known and table in known_tables() else None


def _known(using: str) -> Views | None:
    """The database's views, None if they can't be known."""
    if _has_defining and _is_being_defined(using):
        return _own_views(using)
    found = _views.get(using)
    return _learn(using) if found is None else found[1]


def _learn(using: str) -> Views | None:
    failed = _failed.get(using)
    if failed is not None and time.monotonic() < failed + RETRY_SECONDS:
        return None
    what = f"The views of the database {using!r} can't be read, so nothing of it is cached"
    forgotten = _forgotten
    try:
        if not database_catalog.can_be_asked(using):
            _failed[using] = AT_ONCE
            return None
        # By connecting, maybe.
        if using in _views:
            return _views[using][1]
        found = _read_views(using)
    except Exception as error:
        error_boundary.note_failure(what, error)
        _failed[using] = time.monotonic()
        return None
    if _failed.pop(using, None) is not None:
        # What was not cached meanwhile can be.
        forget_derived("CACHEOPS")
    if forgotten == _forgotten:
        _views[using] = connections[using].settings_dict["NAME"], found
    return found


def on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Read the catalog of a database that is new to this process."""
    error_boundary.attempted("The views of a database can't be read", lambda: _learn_by(connection), None)


def _learn_by(connection: BaseDatabaseWrapper) -> None:
    using = connection.alias
    # Databases are made, and tests begun, by connections to others of the same alias.
    if using in _views and _views[using][0] != connection.settings_dict["NAME"]:
        forget_all()
    if using in _views or not apps.models_ready or not connection.autocommit:
        return
    if using in connections.settings and connections[using] is connection and watched_columns():
        if using in _failed:
            _failed[using] = AT_ONCE
        _learn(using)


def _is_being_defined(using: str) -> bool:
    """The transaction that is open changed views, which may be undone: then what there was before is true again."""
    global _has_defining
    connection = connections[using]
    block = connection.__dict__.get("_cacheops_defining")
    if block is None:
        return False
    if connection.atomic_blocks[:1] == [block]:
        return True
    connection.__dict__.pop("_cacheops_defining", None)
    undone(using)
    _defining.discard(connection)
    _has_defining = bool(_defining)
    forget_all()
    return False


def _own_views(using: str) -> Views | None:
    """The views as the transaction that is open sees them."""
    kept = connections[using].__dict__
    found: Views | None = kept.get("_cacheops_views")
    if found is None:
        what = "Views that a transaction defines can't be read, so nothing is cached within"
        try:
            if not database_catalog.can_be_asked(using):
                _failed[using] = AT_ONCE
                return None
            found = _read_views(using)
        except Exception as error:
            error_boundary.note_failure(what, error)
            _failed[using] = AT_ONCE
            return None
        kept["_cacheops_views"] = found
    return found


def undone(using: str) -> None:
    """To be called when a part of a transaction may have been undone, and definitions of views with it."""
    if _defining:
        connections[using].__dict__.pop("_cacheops_views", None)


def _read_views(using: str) -> dict[str, View]:
    texts, replacing = database_catalog.read(using, known_tables())
    # One whose definition is kept from us may read any.
    named = {view: _named_in(text, texts) if text else set(known_tables()) for view, text in texts.items()}
    found = {}
    for view in named:
        read = reached(view, lambda each: named.get(plain_name(each), set()))
        views = {view, *map(plain_name, read)} & set(texts)
        tables = {table for table in read if plain_name(table) not in texts}
        found[view] = View(frozenset(tables), " ".join(texts[each] for each in views))
    for table in known_tables():
        if plain_name(table) in replacing:
            found[plain_name(table)] = View(frozenset({table, *deleted_along(table)}), "")
    return found


def _named_in(text: str, views: Iterable[str]) -> set[str]:
    """Tables of models, and views, that a definition may read: their names stand in it."""
    words = set(WORD.findall(text.lower()))
    names = {*known_tables(), *views}
    return {name for name in names if words.issuperset(WORD.findall(plain_name(name).rpartition(".")[2]))}


def forget(using: str) -> None:
    """Find out anew which views there are, and what results rest on: now, and when the transaction is over."""
    global _has_defining
    connection = connections[using]
    if connection.in_atomic_block:
        _has_defining = True
        connection.__dict__["_cacheops_defining"] = connection.atomic_blocks[0]
        undone(using)
        _defining.add(connection)
        transaction.on_commit(forget_all, using=using)
    forget_all()


def forget_all() -> None:
    """Likewise, for all databases, and now."""
    global _forgotten
    _forgotten += 1
    if _views or _failed:
        _views.clear()
        _failed.clear()
        forget_derived("CACHEOPS")


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    # Those of migrations and of isolated tests are none of ours.
    if sender._meta.apps is apps:
        _views.clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.schema.database_views")
