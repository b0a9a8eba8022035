"""Which models are watched: those whose writes are followed, and on which cached results may therefore rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.db.models import Model
from django.db.models.signals import class_prepared

from ..conf import model_profile, on_change


@cache
def is_watched(model: type[Model]) -> bool:
    """A model with a profile, one that shares rows with such a one, or a many-to-many table between them."""
    options = model._meta
    if options.abstract or options.swapped or model.__module__ == "__fake__":
        return False
    if any(model_profile(relative) is not None for relative in _relatives(model)):
        return True
    if options.auto_created:
        ends = (field.related_model for field in options.fields if field.is_relation)
        return any(is_watched(end) for end in ends if isinstance(end, type) and end is not model)
    return False


@lru_cache(maxsize=1)
def watched_columns() -> dict[str, frozenset[str]]:
    """The tables of all watched models and their columns."""
    tables: dict[str, frozenset[str]] = {}
    for model in watched_models():
        columns = frozenset(str(field.column) for field in model._meta.local_concrete_fields)
        table = model._meta.db_table
        tables[table] = tables.get(table, frozenset()) | columns
    return tables


def watched_models() -> list[type[Model]]:
    """All watched models, automatic many-to-many ones and proxies included."""
    return [model for model in apps.get_models(include_auto_created=True) if is_watched(model)]


@lru_cache(maxsize=1)
def known_tables() -> frozenset[str]:
    """The tables of all models, and Django's own: of migrations and of caches."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    caches = {str(options.get("LOCATION", "")) for options in getattr(django_settings, "CACHES", {}).values()} - {""}
    return frozenset({model._meta.db_table for model in models} | caches | {"django_migrations"})


@lru_cache(maxsize=256)
def deleted_along(table: str) -> frozenset[str]:
    """The watched tables whose rows a database deletes or changes by itself when rows of `table` are deleted."""
    cascades = _database_cascades()
    return frozenset(reached(table, lambda each: cascades.get(each, set())) & set(watched_columns()))


def reached(start: str, following: Callable[[str], set[str]]) -> set[str]:
    """All that one comes to from `start`, when from each there is a way to those `following` it."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = following(todo.pop()) - found
        found |= new
        todo += new
    return found


@lru_cache(maxsize=1)
def _database_cascades() -> dict[str, set[str]]:
    """Tables that refer to others by ``DB_CASCADE`` and the like, which came with Django 6.1."""
    cascades: dict[str, set[str]] = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        for field in model._meta.local_fields:
            related: Any = field.related_model
            if related is not None and hasattr(getattr(field.remote_field, "on_delete", None), "on_delete_sql"):
                cascades.setdefault(related._meta.db_table, set()).add(model._meta.db_table)
    return cascades


def _relatives(model: type[Model]) -> set[type[Model]]:
    """`model`, its multi-table parents and children, and proxies of any: what one write may touch together."""
    roots = {model._meta.concrete_model, *model._meta.all_parents} - {None}
    found: set[type[Model]] = set()
    todo = list(roots)
    while todo:
        relative = todo.pop()
        if relative is None or relative in found:
            continue
        found.add(relative)
        todo += relative.__subclasses__()
    return {relative for relative in found if not relative._meta.abstract}


@on_change
def _forget(setting: str) -> None:
    if setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        forget()


def forget(**kwargs: object) -> None:
    """Find out anew what is watched, after models or settings changed."""
    is_watched.cache_clear()
    for cached in (watched_columns, known_tables, deleted_along, _database_cascades):
        cached.cache_clear()


class_prepared.connect(forget, dispatch_uid="cacheops_lite.schema.tracked_models")
