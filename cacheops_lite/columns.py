"""Columns of models: how a field's values become tokens on a given database."""

from __future__ import annotations

import datetime
import uuid
from functools import cache
from typing import Any

from django.db import connections
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
AS_THEY_ARE = {"BooleanField": bool, "UUIDField": uuid.UUID, "FloatField": float, "DateField": datetime.date}
# Doubles, which SQLite keeps decimals in, tell apart no more digits than these.
SQLITE_DIGITS = 15
DJANGO_S = "django.db.models"
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
        return _text_tokenizer(getattr(field, "db_collation", None), vendor)
    if isinstance(field, DecimalField):
        return _decimal_tokenizer(field, vendor)
    if kind == "DateTimeField" and _loses_zones(vendor):
        return None
    return OTHERS.get(kind)


def _loses_zones(vendor: str) -> bool:
    """Times may be stored as those of a zone whose clocks are turned back: then two instants are the same."""
    zones = {each.get("TIME_ZONE") for each in connections.settings.values()}
    return vendor != "postgresql" and not zones <= {None, "UTC"}


@on_change
def _forget(setting: str) -> None:
    if setting == "CACHEOPS_SKIP_FIELDS":
        tokenizer.cache_clear()


def token(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """The token of one value of `field`, None when it has none."""
    tokenize = tokenizer(field, vendor)
    return None if tokenize is None else token_by(tokenize, value)


def token_by(tokenize: values.Tokenizer, value: Any) -> str | None:
    """The token that `tokenize` gives a value, None when it has none."""
    if value is None:
        return values.NULL
    try:
        return tokenize(value)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def token_of_condition(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """The token that rows have whose `field` equals `value`, None if they may have several.

    Where `has_odd_ones` they may have `values.ODD` as well.
    """
    found = token(field, vendor, value)
    return None if found == values.ODD else found


def has_odd_ones(field: Field[Any, Any], vendor: str) -> bool:
    """Some values of `field` have no token but `values.ODD`, and may equal any other."""
    return tokenizer(field, vendor) is values.folded


def is_loose(field: Field[Any, Any], vendor: str) -> bool:
    """Values of `field` that differ may be equal."""
    return tokenizer(field, vendor) in (values.folded, values.nocase, values.padded)


def is_ours_to_read(field: Field[Any, Any]) -> bool:
    """An instance holds, after save(), what the database does: true unless the field computes what it stores."""
    return not isinstance(field, GeneratedField) and _is_django_s(type(field), "pre_save")


def is_shown_as_stored(field: Field[Any, Any]) -> bool:
    """What is read of the column is what it holds, as Django's own fields show it; others may show something else."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    from_db_value = getattr(field, "from_db_value", None)
    return from_db_value is None or from_db_value.__module__.startswith(DJANGO_S)


def kind_as_is(field: Field[Any, Any]) -> type | None:
    """The type whose values, and None, `field` gives to the database as they are; None if there is none."""
    while isinstance(field, ForeignKey):
        if not _is_django_s(type(field), "get_prep_value"):
            return None
        field = field.target_field
    if not _is_django_s(type(field), "get_prep_value"):
        return None
    kind = field.get_internal_type()
    if kind in INTEGERS:
        return int
    return str if kind in TEXTS else AS_THEY_ARE.get(kind)


def _stores_plainly(field: Field[Any, Any]) -> bool:
    return all(_is_django_s(type(field), method) for method in STORING_METHODS)


def _is_django_s(field_class: type, method: str) -> bool:
    return bool(getattr(field_class, method).__module__.startswith(DJANGO_S))


def _text_tokenizer(collation: str | None, vendor: str) -> values.Tokenizer | None:
    """As a collation compares, None being the database's default; unknown ones may tell anything apart."""
    if vendor == "postgresql":
        return values.text if collation in (None, "C", "POSIX", "C.UTF-8", "ucs_basic") else None
    if vendor == "sqlite":
        return {"BINARY": values.text, "NOCASE": values.nocase, "RTRIM": values.padded}.get(
            "BINARY" if collation is None else collation.upper()
        )
    if vendor == "mysql":
        is_binary = collation is not None and collation.lower().endswith("_bin")
        return values.padded if is_binary else values.folded
    return None


def _decimal_tokenizer(field: DecimalField[Any, Any], vendor: str) -> values.Tokenizer | None:
    if vendor == "sqlite" and (field.max_digits is None or field.max_digits > SQLITE_DIGITS):
        return None
    return values.decimal_of(field.max_digits, field.decimal_places)
