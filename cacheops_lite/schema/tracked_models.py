"""Which models are tracked: their writes invalidate, so cached results may depend on them."""

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
def is_tracked(model: type[Model]) -> bool:
    """Return whether writes of `model` are tracked.

    They are if the model has a profile, shares rows with a model that has one, or is the automatic many-to-many table
    of a tracked model.
    """
    options = model._meta
    if options.abstract or options.swapped or model.__module__ == "__fake__":
        return False
    if any(model_profile(relative) is not None for relative in _relatives(model)):
        return True
    if options.auto_created:
        ends = (field.related_model for field in options.fields if field.is_relation)
        return any(is_tracked(end) for end in ends if isinstance(end, type) and end is not model)
    return False


@lru_cache(maxsize=1)
def tracked_columns() -> dict[str, frozenset[str]]:
    """Return the tables of all tracked models with their columns."""
    tables: dict[str, frozenset[str]] = {}
    for model in all_tracked_models():
        columns = frozenset(str(field.column) for field in model._meta.local_concrete_fields)
        table = model._meta.db_table
        tables[table] = tables.get(table, frozenset()) | columns
    return tables


def all_tracked_models() -> list[type[Model]]:
    """Return all tracked models, including automatic many-to-many models and proxies."""
    return [model for model in apps.get_models(include_auto_created=True) if is_tracked(model)]


@lru_cache(maxsize=1)
def known_tables() -> frozenset[str]:
    """Return the tables of all models, and those of Django's migrations and database caches."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    caches = {str(options.get("LOCATION", "")) for options in getattr(django_settings, "CACHES", {}).values()} - {""}
    return frozenset({model._meta.db_table for model in models} | caches | {"django_migrations"})


@lru_cache(maxsize=256)
def cascade_targets(table: str) -> frozenset[str]:
    """Return the tracked tables whose rows the database deletes or changes when rows of `table` are deleted."""
    cascades = _database_cascades()
    return frozenset(reachable(table, lambda each: cascades.get(each, set())) & set(tracked_columns()))


def reachable(start: str, following: Callable[[str], set[str]]) -> set[str]:
    """Return all nodes of a graph that are reachable from `start`; `following` returns the successors of a node."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = following(todo.pop()) - found
        found |= new
        todo += new
    return found


@lru_cache(maxsize=1)
def _database_cascades() -> dict[str, set[str]]:
    """Return, by table, the tables that refer to it by ``DB_CASCADE`` and the like, which Django 6.1 introduced."""
    cascades: dict[str, set[str]] = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        for field in model._meta.local_fields:
            related: Any = field.related_model
            if related is not None and hasattr(getattr(field.remote_field, "on_delete", None), "on_delete_sql"):
                cascades.setdefault(related._meta.db_table, set()).add(model._meta.db_table)
    return cascades


def _relatives(model: type[Model]) -> set[type[Model]]:
    """Return the models whose rows one write may change together.

    These are `model`, its multi-table parents and children, and the proxies of all of them.
    """
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
def _on_setting_changed(setting: str) -> None:
    if setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        clear_caches()


def clear_caches(**kwargs: object) -> None:
    """Determine again which models are tracked, after models or settings changed."""
    is_tracked.cache_clear()
    for cached in (tracked_columns, known_tables, cascade_targets, _database_cascades):
        cached.cache_clear()


class_prepared.connect(clear_caches, dispatch_uid="cacheops_lite.schema.tracked_models")
