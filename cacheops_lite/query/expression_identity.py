"""What tells one expression from all others that are not made and set up alike."""

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

# Of equal ones some differ: 1 and True and 1.0, decimals of other scale, times of other zones.
TOLD_BY_REPR = frozenset(
    {int, float, complex, bool, bytes, type(None), decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo, datetime.timezone}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)
# They are told by other queries, or by the identity of an object.
TOLD_BY_OTHERS = (Subquery, OuterRef, ResolvedOuterRef, Query)
# What Django itself tells expressions by: what they were made with, whatever became of them.
OF_THEIR_MAKING = frozenset({"_constructor_args", "identity"})


class NotIdentifiable(Exception):
    """There is more to an expression than is known here."""


def identity_of(part: Any) -> Any:
    """What tells an expression, or a part of one, from others, by all that it holds.  Raises Untold.

    Django's own ``identity`` goes by what an expression was made with: not by joins that its names led to, nor by what
    was changed since, and takes 1 for True.
    """
    kind: Any = type(part)
    if kind is str:
        return part
    if kind in TOLD_BY_REPR:
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
    if isinstance(part, TOLD_BY_OTHERS) or not _is_django_s(kind):
        raise NotIdentifiable
    left_out: frozenset[str] = _left_out(kind)
    return kind, *((name, identity_of(held)) for name, held in sorted(vars(part).items()) if name not in left_out)


def _is_django_s(kind: type) -> bool:
    is_expression = hasattr(kind, "resolve_expression") or hasattr(kind, "as_sql") or issubclass(kind, (Q, WhereNode))
    return is_expression and kind.__module__.startswith("django.db.models")


@lru_cache(maxsize=1024)
def _left_out(kind: type) -> frozenset[str]:
    """What instances of a class hold that is made of the rest; the output field they may have been given."""
    made = {name for each in kind.__mro__ for name, value in vars(each).items() if isinstance(value, cached_property)}
    return OF_THEIR_MAKING | (made - {"output_field"})


def _field_identity(field: Field[Any, Any]) -> Any:
    if getattr(field, "model", None) is not None:
        return id(field)
    if not type(field).__module__.startswith("django.db.models"):
        raise NotIdentifiable
    return type(field), identity_of(list(field.deconstruct()[1:]))
