"""Distinguish Django's own methods, lookups, queries and joins from overrides by the application or another package.

What Django's own classes do is known; what an override does is not.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Field
from django.db.models.sql.datastructures import BaseTable, Join

from ..utils import LruMap

DJANGO_MODELS = "django.db.models"


def is_django_method(kind: type, name: str) -> bool:
    """Return whether the method `name` of a class is Django's own."""
    return bool(getattr(kind, name).__module__.startswith(DJANGO_MODELS))


def is_django_lookup(kind: type) -> bool:
    """Return whether the class of a lookup is Django's own."""
    return kind.__module__.startswith(DJANGO_MODELS)


def compares_like_django(field: Field[Any, Any]) -> bool:
    """Return whether equality lookups of `field` are Django's own: no other one is registered instead."""
    # Django makes a new dict when a lookup is registered.
    lookups = field.get_lookups()
    known = _comparisons.get(field)
    if known is None or known[0] is not lookups:
        found = [field.get_lookup(each) for each in ("exact", "in", "isnull")]
        known = lookups, all(each is not None and is_django_lookup(each) for each in found)
        _comparisons.put(field, known)
    return known[1]


# By field: its lookups, and what they compare like.
_comparisons: LruMap[Any, tuple[Any, bool]] = LruMap(1000)


def is_django_query(query: Any) -> bool:
    """Return whether the class of a query is one of Django's own."""
    return type(query).__module__.startswith(DJANGO_MODELS + ".sql.")


def is_django_join(join: Any) -> bool:
    """Return whether an entry of `Query.alias_map` is Django's own; packages for recursive queries add others."""
    return type(join) in (BaseTable, Join)


def joins_by_columns(join: Any) -> bool:
    """Return whether the rows of a join depend on columns and Django's own conditions only.

    A custom relation may add a condition that depends on something else, such as the active language.
    """
    if join.parent_alias is None:
        return True
    kind: Any = type(getattr(join.join_field, "field", join.join_field))
    return bool(join.join_cols) and kind.get_extra_restriction.__module__.startswith("django.")
