"""Make a hashable identity of a Django expression; two expressions with the same identity compose the same SQL."""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from functools import lru_cache
from typing import Any

from django.db.models import Field, Q
from django.db.models.expressions import Col, OuterRef, ResolvedOuterRef, Subquery
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode
from django.utils.functional import cached_property

# Equal values of these types may differ: 1, True and 1.0; decimals of another scale; times of another zone.
EXACT_REPR_TYPES = frozenset(
    {int, float, complex, bool, bytes, type(None), decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo, datetime.timezone}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)
# These depend on another query, or on the identity of an object.
UNIDENTIFIABLE = (Subquery, OuterRef, ResolvedOuterRef, Query)
# Django's own identity of expressions: their constructor's arguments, without later changes.
DJANGO_IDENTITY_ATTRIBUTES = frozenset({"_constructor_args", "identity"})


class NotIdentifiable(Exception):
    """An expression depends on more than its own attributes, or is not one of Django's."""


def identity_of(part: Any) -> Any:
    """Return what identifies an expression, or a part of one, by all of its attributes.  Raises NotIdentifiable.

    Django's own ``identity`` uses the constructor's arguments.  It ignores the joins that names were resolved to and
    later changes, and it does not distinguish 1 from True.
    """
    kind: Any = type(part)
    if kind is str:
        return part
    if kind in EXACT_REPR_TYPES:
        return kind, repr(part)
    if kind is Col:
        return Col, part.alias, id(part.target), identity_of(part.output_field)
    if kind in (list, tuple):
        return kind, *map(identity_of, part)
    if kind is dict:
        return kind, *((identity_of(name), identity_of(value)) for name, value in part.items())
    if isinstance(part, type):
        return part
    if isinstance(part, Field):
        return _field_identity(part)
    if isinstance(part, UNIDENTIFIABLE) or not _is_django_s(kind):
        raise NotIdentifiable
    derived: frozenset[str] = _derived_attributes(kind)
    return kind, *((name, identity_of(each)) for name, each in sorted(vars(part).items()) if name not in derived)


def _is_django_s(kind: type) -> bool:
    is_expression = hasattr(kind, "resolve_expression") or hasattr(kind, "as_sql") or issubclass(kind, (Q, WhereNode))
    return is_expression and kind.__module__.startswith("django.db.models")


@lru_cache(maxsize=1024)
def _derived_attributes(kind: type) -> frozenset[str]:
    """Return the attributes that are derived from others, without the output field, which may be an argument."""
    cached = {name for each in kind.__mro__ for name, value in vars(each).items() if isinstance(value, cached_property)}
    return DJANGO_IDENTITY_ATTRIBUTES | (cached - {"output_field"})


def _field_identity(field: Field[Any, Any]) -> Any:
    if getattr(field, "model", None) is not None:
        return id(field)
    if not type(field).__module__.startswith("django.db.models"):
        raise NotIdentifiable
    return type(field), identity_of(list(field.deconstruct()[1:]))
