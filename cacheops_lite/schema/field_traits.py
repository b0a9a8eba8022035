"""What a model field does with values: their type, and how it prepares, stores and loads them.

Several traits say whether a field behaves like Django's field of the same internal type.  A foreign key has the traits
of the field that it refers to, a generated field those of its output field.
"""

from __future__ import annotations

import datetime
import uuid
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Field, ForeignKey, GeneratedField

from .overrides import is_django_method

# Internal types, as `Field.get_internal_type()` returns them.
INTEGER_TYPES = {
    "AutoField",
    "BigAutoField",
    "SmallAutoField",
    "IntegerField",
    "BigIntegerField",
    "SmallIntegerField",
    "PositiveIntegerField",
    "PositiveBigIntegerField",
    "PositiveSmallIntegerField",
}
TEXT_TYPES = {"CharField", "SlugField", "EmailField", "URLField", "TextField", "FilePathField"}
IMMUTABLE_TYPES = {
    *INTEGER_TYPES,
    *TEXT_TYPES,
    "BinaryField",
    "BooleanField",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "DurationField",
    "FloatField",
    "TimeField",
    "UUIDField",
}
# By internal type: the Python type that is passed to the database as it is, besides int and str.
PASSTHROUGH = {"BooleanField": bool, "UUIDField": uuid.UUID, "FloatField": float, "DateField": datetime.date}
# SQLite stores decimals as doubles, which keep no more digits than these.
SQLITE_DECIMAL_DIGITS = 15
# Where a field's class overrides one of these, it is not known what it stores.
STORING_METHODS = (
    *("get_db_prep_value", "get_db_prep_save", "db_type", "rel_db_type"),
    *("get_placeholder", "get_placeholder_sql"),
)
# Where a field's class overrides one of these, it may load another value than the stored one.
LOADING_METHODS = ("from_db_value", "select_format")


def target_of(field: Any) -> Any:
    """Return the field whose values the column of `field` stores: another field for foreign and generated ones."""
    return _chain_of_targets(field)[-1]


def _chain_of_targets(field: Any) -> list[Any]:
    """Return the field, the field that it refers to, and so on."""
    found = [field]
    while isinstance(field, (ForeignKey, GeneratedField)):
        field = field.target_field if isinstance(field, ForeignKey) else field.output_field
        found.append(field)
    return found


def internal_type(field: Any) -> str:
    """Return the internal type of a field that is no foreign key."""
    return str(field.get_internal_type())


def stores_like_django(field: Field[Any, Any]) -> bool:
    """Return whether `field` stores what Django's field of the same internal type stores."""
    return _all_django_methods(field, *STORING_METHODS)


def prepares_like_django(field: Field[Any, Any]) -> bool:
    """Return whether ``get_prep_value()`` is Django's own, which leaves a stored value as it is."""
    return _all_django_methods(field, "get_prep_value")


def loads_like_django(field: Field[Any, Any]) -> bool:
    """Return whether the value that `field` loads is the stored one, as Django's own fields present it."""
    return _all_django_methods(field, *LOADING_METHODS)


def _all_django_methods(field: Field[Any, Any], *methods: str) -> bool:
    """Return whether neither the class of `field` nor that of the field it refers to overrides one of `methods`."""
    kinds: list[Any] = [type(each) for each in _chain_of_targets(field)]
    return all(is_django_method(kind, method) for kind in kinds for method in methods if hasattr(kind, method))


def is_known_after_save(field: Field[Any, Any]) -> bool:
    """Return whether an instance has the stored value after ``save()``; False if the field computes what it stores."""
    return not isinstance(field, GeneratedField) and is_django_method(type(field), "pre_save")


def loads_immutable_values(field: Field[Any, Any]) -> bool:
    """Return whether the values that `field` loads cannot be changed in place."""
    return internal_type(target_of(field)) in IMMUTABLE_TYPES and loads_like_django(field)


def has_fixed_scale(field: Field[Any, Any]) -> bool:
    """Return whether equal decimals are stored as the same value, with a fixed number of decimal places."""
    return getattr(target_of(field), "decimal_places", None) is not None and stores_like_django(field)


def passthrough_type(field: Field[Any, Any]) -> type | None:
    """Return the type whose values `field` passes to the database unchanged, as it does None; None if there is none."""
    while isinstance(field, ForeignKey):
        if not is_django_method(type(field), "get_prep_value"):
            return None
        field = field.target_field
    if not prepares_like_django(field):
        return None
    kind = internal_type(field)
    if kind in INTEGER_TYPES:
        return int
    return str if kind in TEXT_TYPES else PASSTHROUGH.get(kind)


@cache
def distinguishes_stored_values(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether values that differ in the column differ as well as Python values.

    These are the values of instances, and those that `field_values.StoredFieldReader` reads.  Where this is False, two
    equal values prove nothing: a write counts as a change.
    """
    is_known = vendor in ("sqlite", "postgresql", "mysql")
    return is_known and stores_like_django(field) and distinguishes_instants(field, vendor)


def distinguishes_instants(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether equal stored times are the same instant."""
    return not (internal_type(target_of(field)) == "DateTimeField" and stores_ambiguous_times(vendor))


def stores_ambiguous_times(vendor: str) -> bool:
    """Return whether a stored time may stand for two instants: one of a zone whose clocks are turned back.

    PostgreSQL stores instants, but takes a time without a zone for one of the session's zone.
    """
    if vendor == "postgresql":
        return not django_settings.USE_TZ
    zones = {each.get("TIME_ZONE") for each in connections.settings.values()}
    return not zones <= {None, "UTC"}
