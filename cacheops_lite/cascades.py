"""What deleting a row changes elsewhere without a signal: many-to-many rows go, foreign keys are set."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, ForeignKey, Model, QuerySet

from .changes import MAX_CHANGES_PER_TABLE, Work
from .images import row_went, tables_of
from .looks import readable, rows
from .scope import is_watched

# Related rows of these are not touched, or deleted one by one with signals of their own.
SIGNALLED = (CASCADE, PROTECT, RESTRICT, DO_NOTHING)


def silent_work(instance: Model, using: str) -> Work:
    """The work that deleting `instance` will make elsewhere.  Its row is to be locked, so that no link is added now."""
    work = Work()
    for field in _silent_fields(type(instance)):
        value = getattr(instance, field.target_field.attname)
        related = QuerySet(field.model, using=using).nocache()  # type: ignore[attr-defined]
        _add(work, field, related.filter(**{field.attname: value}), using)
    return work


def _add(work: Work, field: ForeignKey[Any, Any], related: QuerySet[Any], using: str) -> None:
    model = field.model
    if not model._meta.auto_created:
        if related.exists():
            work.tables |= {table.name for table in tables_of(model)}
        return
    found = list(rows(related[: MAX_CHANGES_PER_TABLE + 1], readable(model)))
    if len(found) > MAX_CHANGES_PER_TABLE:
        work.tables |= {table.name for table in tables_of(model)}
    else:
        vendor = connections[using].vendor
        work.changes += [change for held in found for change in row_went(model, held, vendor)]


@cache
def _silent_fields(model: type[Model]) -> tuple[ForeignKey[Any, Any], ...]:
    """Foreign keys to `model` whose rows Django deletes or sets without a signal."""
    return tuple(
        field
        for field in _fields_to(model)
        if is_watched(field.model) and (field.model._meta.auto_created or field.remote_field.on_delete not in SIGNALLED)
    )


def _fields_to(model: type[Model]) -> Iterable[ForeignKey[Any, Any]]:
    for relation in model._meta.get_fields(include_hidden=True):
        points_here = relation.auto_created and not relation.concrete
        field = getattr(relation, "field", None)
        if points_here and isinstance(field, ForeignKey):
            yield field
