"""Which models are watched: those whose writes are followed, and on which cached results may therefore rest."""

from __future__ import annotations

from functools import cache, lru_cache

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import class_prepared

from .conf import model_profile, on_change


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
    watched_columns.cache_clear()


class_prepared.connect(forget, dispatch_uid="cacheops_lite.scope")
