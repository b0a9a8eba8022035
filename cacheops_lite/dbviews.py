"""Views of databases, which models that Django does not manage may lie in: what is written to the tables that a view
reads changes it, and what is written to it changes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Model
from django.db.models.signals import class_prepared

from .conf import derive_anew
from .scope import is_watched, known_tables, reached

# The schema, whether it may be left out, the name and the definition of each view.
# On PostgreSQL any schema may be left out, as search paths change.
DEFINITIONS = {
    "postgresql": """SELECT n.nspname, true, c.relname, pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        -- Rows of a partition, or of a table that inherits, are its parent's.
        UNION ALL SELECT n.nspname, true, c.relname, string_agg(p.relname, ' ')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class p ON p.oid = i.inhparent WHERE c.relkind <> 'i' GROUP BY n.nspname, c.oid, c.relname""",
    "mysql": """SELECT TABLE_SCHEMA, TABLE_SCHEMA = DATABASE(), TABLE_NAME, VIEW_DEFINITION
        FROM information_schema.VIEWS
        WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')""",
    "sqlite": """SELECT 'main', 1, name, sql FROM sqlite_master WHERE type = 'view'
        UNION ALL SELECT 'temp', 1, name, sql FROM sqlite_temp_master WHERE type = 'view'""",
}
WORD = re.compile(r"\w+")


class View(NamedTuple):
    """The tables of models that a view reads, and its definition with those of the views that it reads."""

    tables: frozenset[str]
    text: str


# By alias of a database: its views by name.
_views: dict[str, dict[str, View]] = {}


def is_table(model: type[Model], using: str) -> bool:
    """The rows of `model` lie in tables of their own, not in a view."""
    return model._meta.managed or behind(model._meta.db_table, using) is None


def is_followed(model: type[Model], using: str) -> bool:
    """The model is watched, and what its rows become can be told of each: not where a view shows others' rows."""
    return is_watched(model) and is_table(model, using)


def behind(table: str | None, using: str) -> frozenset[str] | None:
    """The tables of models that a view of the database reads, None if `table` is no view."""
    view = _view(table, using)
    return None if view is None else view.tables


def _view(table: str | None, using: str) -> View | None:
    if table not in unmanaged_tables():
        return None
    found = _read_views(using) if _is_being_defined(using) else _views.get(using)
    if found is None:
        found = _views[using] = _read_views(using)
    return found.get(plain(table))


def _is_being_defined(using: str) -> bool:
    """The transaction that is open changed views, which may be undone: then what there was before is true again."""
    connection = connections[using]
    block = connection.__dict__.get("_cacheops_defining")
    if block is None:
        return False
    if connection.atomic_blocks[:1] == [block]:
        return True
    connection.__dict__.pop("_cacheops_defining", None)
    _forget_all()
    return False


def texts_behind(tables: Iterable[str], using: str) -> list[str]:
    """The definitions of those of `tables` that are views."""
    return [view.text for table in tables if (view := _view(table, using)) is not None]


def all_behind(tables: Iterable[str], using: str) -> set[str]:
    """The tables of models that those of `tables` read which are views."""
    return set().union(*(behind(table, using) or () for table in tables))


@lru_cache(maxsize=1)
def unmanaged_tables() -> frozenset[str]:
    """The tables of models that Django does not manage."""
    models = list(apps.get_models(include_auto_created=True, include_swapped=True))
    managed = {model._meta.db_table for model in models if model._meta.managed and not model._meta.proxy}
    return frozenset(model._meta.db_table for model in models if not model._meta.managed) - managed


def _read_views(using: str) -> dict[str, View]:
    texts = _read_texts(using)
    # One whose definition is kept from us may read any.
    named = {view: _named_in(text, texts) if text else set(known_tables()) for view, text in texts.items()}
    found = {}
    for view in named:
        read = reached(view, lambda each: named.get(plain(each), set()))
        views = {view, *map(plain, read)} & set(texts)
        tables = {table for table in read if plain(table) not in texts}
        found[view] = View(frozenset(tables), " ".join(texts[each] for each in views))
    return found


def _read_texts(using: str) -> dict[str, str]:
    """The definitions of views by their names, with the schema and, where it may be left out, without."""
    connection = connections[using]
    texts: dict[str, str] = {}
    with connection.cursor() as cursor:
        if connection.vendor not in DEFINITIONS:
            kinds = connection.introspection.get_table_list(cursor)
            return {kind.name.lower(): "" for kind in kinds if kind.type == "v"}
        cursor.execute(DEFINITIONS[connection.vendor])
        for schema, may_be_left_out, name, text in cursor.fetchall():
            texts[f"{schema}.{name}".lower()] = text or ""
            if may_be_left_out:
                texts[name.lower()] = f"{texts.get(name.lower(), '')} {text or ''}".strip()
    return texts


def _named_in(text: str, views: Iterable[str]) -> set[str]:
    """Tables of models, and views, that a definition may read: their names stand in it."""
    words = set(WORD.findall(text.lower()))
    names = {*known_tables(), *views}
    return {name for name in names if words.issuperset(WORD.findall(plain(name).rpartition(".")[2]))}


def plain(table: Any) -> str:
    """A name as views are told by: in lower case, with no quotes, which some put around schema and name."""
    return re.sub(r'["`]', "", str(table)).lower()


def forget(using: str) -> None:
    """Find out anew which views there are, and what results rest on: now, and when the transaction is over."""
    connection = connections[using]
    if connection.in_atomic_block:
        connection._cacheops_defining = connection.atomic_blocks[0]  # type: ignore[attr-defined]
        transaction.on_commit(_forget_all, using=using)
    _forget_all()


def _forget_all() -> None:
    if _views:
        _views.clear()
        derive_anew("CACHEOPS")


def _on_class_prepared(**kwargs: Any) -> None:
    unmanaged_tables.cache_clear()
    _views.clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.dbviews")
