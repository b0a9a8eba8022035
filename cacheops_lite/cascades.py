"""What deleting a row takes with it without a signal: rows of automatic many-to-many tables."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import ForeignKey, Model, QuerySet

from .changes import MAX_CHANGES_PER_TABLE, Work
from .frames import DeleteFrame
from .images import row_went
from .looks import readable, rows
from .scope import is_watched


def links_of(instance: Model, using: str, frame: DeleteFrame) -> Work:
    """The work that deleting the links of `instance` makes; `frame` then expects their deletion.

    The row of `instance` is to be locked, so that no link is added now.
    """
    work = Work()
    vendor = connections[using].vendor
    for field in _link_fields(type(instance)):
        through = field.model
        value = getattr(instance, field.target_field.attname)
        linked = QuerySet(through, using=using).nocache().filter(**{field.attname: value})  # type: ignore[attr-defined]
        found = list(rows(linked[: MAX_CHANGES_PER_TABLE + 1], readable(through)))
        # Of more than that the guard drops the table.
        if len(found) <= MAX_CHANGES_PER_TABLE:
            frame.expect(through._meta.db_table, len(found))
            work.changes += [change for held in found for change in row_went(through, held, vendor)]
    return work


@cache
def _link_fields(model: type[Model]) -> tuple[ForeignKey[Any, Any], ...]:
    """Foreign keys of automatic many-to-many models to `model`."""
    return tuple(field for field in _fields_to(model) if field.model._meta.auto_created and is_watched(field.model))


def _fields_to(model: type[Model]) -> Iterable[ForeignKey[Any, Any]]:
    for relation in model._meta.get_fields(include_hidden=True):
        points_here = relation.auto_created and not relation.concrete
        field = getattr(relation, "field", None)
        if points_here and isinstance(field, ForeignKey):
            yield field
