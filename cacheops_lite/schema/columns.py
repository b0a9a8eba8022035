"""Columns of models: how a field's values become tokens on a database."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.db.models import DecimalField, Field
from django.db.models.signals import class_prepared

from ..conf import on_change, settings
from ..utils import error_boundary
from . import tokens
from .field_traits import (
    INTEGER_TYPES,
    SQLITE_DECIMAL_DIGITS,
    TEXT_TYPES,
    distinguishes_stored_values,
    internal_type,
    stores_ambiguous_times,
    stores_like_django,
    target_of,
)

# By internal type, besides those of integers, texts and decimals.
TOKENIZERS: dict[str, tokens.Tokenizer] = {
    "BooleanField": tokens.boolean,
    "UUIDField": tokens.uuid_hex,
    "FloatField": tokens.real,
    "DateField": tokens.date,
    "DateTimeField": tokens.instant,
    "TimeField": tokens.time,
    "DurationField": tokens.duration,
}
# PostgreSQL's collations that compare texts byte by byte; None is the database's default.
POSTGRESQL_BYTEWISE = (None, "C", "POSIX", "C.UTF-8", "ucs_basic")
SQLITE_COLLATIONS = {"BINARY": tokens.text, "NOCASE": tokens.nocase, "RTRIM": tokens.padded}


@cache
def tokenizer(field: Field[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    """Return the function that makes tokens of `field`'s values, or None if they have no canonical form.

    `vendor` is that of the connection: ``'postgresql'``, ``'sqlite'``, ``'mysql'``.  The function takes no None.
    """
    if any(not share_tokens(field, other, vendor) for other in _fields_of_same_column(field)):
        return None
    if not stores_like_django(field):
        return None
    field = target_of(field)
    kind = internal_type(field)
    if kind in settings.CACHEOPS_SKIP_FIELDS:
        return None
    if kind in INTEGER_TYPES:
        return tokens.integer
    if kind in TEXT_TYPES:
        tokenize, max_length = _text_tokenizer(getattr(field, "db_collation", None), vendor), field.max_length
        # Other databases cut off spaces beyond the maximum length.
        may_truncate = tokenize is not None and max_length is not None and vendor != "sqlite"
        return tokens.limited_to(tokenize, max_length) if may_truncate else tokenize  # type: ignore[arg-type]
    if isinstance(field, DecimalField):
        return _decimal_tokenizer(field, vendor)
    if kind == "DateTimeField" and stores_ambiguous_times(vendor):
        return None
    return TOKENIZERS.get(kind)


def _text_tokenizer(collation: str | None, vendor: str) -> tokens.Tokenizer | None:
    """Return the tokenizer of texts that a collation compares, None if the collation is not known.

    The collation None is the database's default.
    """
    if vendor == "postgresql":
        return tokens.text if collation in POSTGRESQL_BYTEWISE else None
    if vendor == "sqlite":
        return SQLITE_COLLATIONS.get("BINARY" if collation is None else collation.upper())
    if vendor == "mysql":
        is_binary = collation is not None and collation.lower().endswith("_bin")
        return tokens.padded if is_binary else tokens.folded
    return None


def _decimal_tokenizer(field: DecimalField[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    if vendor == "sqlite" and (field.max_digits is None or field.max_digits > SQLITE_DECIMAL_DIGITS):
        return None
    return tokens.decimal_of(field.max_digits, field.decimal_places, vendor)


@cache
def comparison_tokenizer(field: Field[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    """Return the function that makes tokens of a text as the column's collation compares it, None if there is none."""
    target = target_of(field)
    if tokenizer(field, vendor) is None or internal_type(target) not in TEXT_TYPES:
        return None
    return _text_tokenizer(getattr(target, "db_collation", None), vendor)


def may_be_indeterminate(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether some values of `field` have the token `tokens.INDETERMINATE`, and may equal any other value."""
    return comparison_tokenizer(field, vendor) is tokens.folded


def compares_inexactly(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether the database may consider different values of `field` equal."""
    return comparison_tokenizer(field, vendor) in (tokens.folded, tokens.nocase, tokens.padded)


def token(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """Return the token of one value of `field`, None if it has none."""
    tokenize = tokenizer(field, vendor)
    return None if tokenize is None else apply_tokenizer(tokenize, value)


def apply_tokenizer(tokenize: tokens.Tokenizer, value: Any) -> str | None:
    """Return the token that `tokenize` makes of a value, None if the value has none."""
    if value is None:
        return tokens.NULL
    try:
        return tokenize(value)
    except Exception as error:
        # A class of the application may raise anything from __str__() or __int__().
        error_boundary.reraise_interrupt(error)
        return None


def condition_token(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """Return the token of the rows whose `field` equals `value`, None if they may have several.

    If the field `may_be_indeterminate`, such rows may have `tokens.INDETERMINATE` as well.
    """
    found = token(field, vendor, value)
    return None if found == tokens.INDETERMINATE else found


def is_integer(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether the column of `field` holds integers, which have tokens."""
    target = target_of(field)
    return internal_type(target) in INTEGER_TYPES and tokenizer(target, vendor) is not None


def share_tokens(one: Field[Any, Any], other: Field[Any, Any], vendor: str) -> bool:
    """Return whether values that are equal in both columns have the same token in both, if they have tokens."""
    one, other = target_of(one), target_of(other)
    return one is other or _token_kind(one, vendor) == _token_kind(other, vendor)


def _token_kind(field: Any, vendor: str) -> Hashable:
    kind = internal_type(field)
    if kind in INTEGER_TYPES:
        return tokens.integer
    if kind in TEXT_TYPES:
        return _text_tokenizer(getattr(field, "db_collation", None), vendor), getattr(field, "db_collation", None)
    return kind


def shares_column(field: Field[Any, Any]) -> bool:
    """Return whether fields of other models have the same table and column."""
    return bool(_fields_of_same_column(field))


def _fields_of_same_column(field: Field[Any, Any]) -> list[Field[Any, Any]]:
    """Return the fields of other models that have the same table and column."""
    model = getattr(field, "model", None)
    if model is None or not apps.models_ready:
        return []
    return [each for each in _shared_columns().get((model._meta.db_table, field.column), ()) if each is not field]


@lru_cache(maxsize=1)
def _shared_columns() -> dict[tuple[str, Any], list[Field[Any, Any]]]:
    """Return the columns that several fields have, by table and column."""
    found: dict[tuple[str, Any], list[Field[Any, Any]]] = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        for field in [] if model._meta.proxy else model._meta.local_concrete_fields:
            found.setdefault((model._meta.db_table, field.column), []).append(field)
    return {place: fields for place, fields in found.items() if len(fields) > 1}


@on_change
def _on_setting_changed(setting: str) -> None:
    if setting == "CACHEOPS_SKIP_FIELDS":
        _clear_field_caches()


def _on_class_prepared(**kwargs: Any) -> None:
    _shared_columns.cache_clear()
    _clear_field_caches()


def _clear_field_caches() -> None:
    for cached in (tokenizer, comparison_tokenizer, distinguishes_stored_values):
        cached.cache_clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.schema.columns")
