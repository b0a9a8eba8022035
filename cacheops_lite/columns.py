"""Columns of models: how a field's values become tokens on a given database."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db.models import DecimalField, Field, ForeignKey, GeneratedField

from . import values
from .conf import on_change, settings

INTEGERS = {
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
TEXTS = {"CharField", "SlugField", "EmailField", "URLField", "TextField", "FilePathField"}
OTHERS: dict[str, values.Tokenizer] = {
    "BooleanField": values.boolean,
    "UUIDField": values.uuid_hex,
    "FloatField": values.real,
    "DateField": values.date,
    "DateTimeField": values.instant,
    "TimeField": values.time,
    "DurationField": values.duration,
}
# Doubles, which SQLite keeps decimals in, tell apart no more digits than these.
SQLITE_DIGITS = 15
# Where a field class of somebody else's overrides one of these, we can't know what it stores.
STORING_METHODS = ("get_db_prep_value", "get_db_prep_save", "db_type", "rel_db_type")


@cache
def tokenizer(field: Field[Any, Any], vendor: str) -> values.Tokenizer | None:
    """What makes tokens of `field`'s values (None excepted), or None when they have no canonical form.

    `vendor` is the connection's: ``'postgresql'``, ``'sqlite'``, ``'mysql'``, ...
    """
    while isinstance(field, ForeignKey):
        field = field.target_field
    if field.get_internal_type() in settings.CACHEOPS_SKIP_FIELDS or not _stores_plainly(field):
        return None
    kind = field.get_internal_type()
    if kind in INTEGERS:
        return values.integer
    if kind in TEXTS:
        return values.text if _compares_exactly(field, vendor) else None
    if isinstance(field, DecimalField):
        return _decimal_tokenizer(field, vendor)
    return OTHERS.get(kind)


@on_change
def _forget(setting: str) -> None:
    if setting == "CACHEOPS_SKIP_FIELDS":
        tokenizer.cache_clear()


def token(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """The token of one value of `field`, None when it has none."""
    tokenize = tokenizer(field, vendor)
    if tokenize is None:
        return None
    if value is None:
        return values.NULL
    try:
        return tokenize(value)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def is_ours_to_read(field: Field[Any, Any]) -> bool:
    """An instance holds, after save(), what the database does: true unless the field computes what it stores."""
    return not isinstance(field, GeneratedField) and _is_django_s(type(field), "pre_save")


def _stores_plainly(field: Field[Any, Any]) -> bool:
    return all(_is_django_s(type(field), method) for method in STORING_METHODS)


def _is_django_s(field_class: type, method: str) -> bool:
    function = getattr(field_class, method)
    return function.__module__.startswith("django.db.models")


def _compares_exactly(field: Field[Any, Any], vendor: str) -> bool:
    """Text is equal only if its bytes are; unknown collations count as telling less apart."""
    collation = getattr(field, "db_collation", None)
    if vendor == "postgresql":
        return collation in (None, "C", "POSIX", "C.UTF-8", "ucs_basic")
    if vendor == "sqlite":
        return collation is None or collation.upper() == "BINARY"
    return False


def _decimal_tokenizer(field: DecimalField[Any, Any], vendor: str) -> values.Tokenizer | None:
    if vendor == "sqlite" and (field.max_digits is None or field.max_digits > SQLITE_DIGITS):
        return None
    return values.decimal_of(field.max_digits, field.decimal_places)
