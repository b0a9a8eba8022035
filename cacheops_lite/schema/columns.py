"""Columns of models: how a field's values become tokens on a given database."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Hashable
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.db import connections
from django.db.models import DecimalField, Field, ForeignKey, GeneratedField
from django.db.models.signals import class_prepared
from django.db.models.sql.datastructures import BaseTable, Join

from ..conf import on_change, settings
from ..utils import LruMap, error_boundary
from . import tokens

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
OTHERS: dict[str, tokens.Tokenizer] = {
    "BooleanField": tokens.boolean,
    "UUIDField": tokens.uuid_hex,
    "FloatField": tokens.real,
    "DateField": tokens.date,
    "DateTimeField": tokens.instant,
    "TimeField": tokens.time,
    "DurationField": tokens.duration,
}
AS_THEY_ARE = {"BooleanField": bool, "UUIDField": uuid.UUID, "FloatField": float, "DateField": datetime.date}
# Doubles, which SQLite keeps decimals in, tell apart no more digits than these.
SQLITE_DIGITS = 15
DJANGO_S = "django.db.models"
# Where a field class of somebody else's overrides one of these, we can't know what it stores.
STORING_METHODS = (
    *("get_db_prep_value", "get_db_prep_save", "db_type", "rel_db_type"),
    *("get_placeholder", "get_placeholder_sql"),
)
# And where it overrides one of these, not whether it shows that.
SHOWING_METHODS = ("from_db_value", "select_format")


@cache
def tokenizer(field: Field[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    """What makes tokens of `field`'s values (None excepted), or None when they have no canonical form.

    `vendor` is the connection's: ``'postgresql'``, ``'sqlite'``, ``'mysql'``, ...
    """
    if any(not are_alike(field, other, vendor) for other in _also_stored_by(field)):
        return None
    if not stores_plainly(field):
        return None
    field = target_of(field)
    kind = kind_of(field)
    if kind in settings.CACHEOPS_SKIP_FIELDS:
        return None
    if kind in INTEGERS:
        return tokens.integer
    if kind in TEXTS:
        tokenize, longest = _text_tokenizer(getattr(field, "db_collation", None), vendor), field.max_length
        # Others cut off what is too long, if that is spaces.
        is_cut = tokenize is not None and longest is not None and vendor != "sqlite"
        return tokens.no_longer(tokenize, longest) if is_cut else tokenize  # type: ignore[arg-type]
    if isinstance(field, DecimalField):
        return _decimal_tokenizer(field, vendor)
    if kind == "DateTimeField" and _loses_zones(vendor):
        return None
    return OTHERS.get(kind)


def target_of(field: Any) -> Any:
    """The field whose values the column of `field` holds: another one if it is a foreign key, or generated."""
    return _by_targets(field)[-1]


def _by_targets(field: Any) -> list[Any]:
    """The field, the one that it refers to, and so on."""
    found = [field]
    while isinstance(field, (ForeignKey, GeneratedField)):
        field = field.target_field if isinstance(field, ForeignKey) else field.output_field
        found.append(field)
    return found


def kind_of(field: Any) -> str:
    """The kind of column of a field that is no foreign key."""
    return str(field.get_internal_type())


def are_alike(one: Field[Any, Any], other: Field[Any, Any], vendor: str) -> bool:
    """What is equal in both columns has the same token in both, if it has one at all."""
    one, other = target_of(one), target_of(other)
    return one is other or _kind_of_tokens(one, vendor) == _kind_of_tokens(other, vendor)


def is_django_s_lookup(kind: type) -> bool:
    """The class of a lookup is one of Django's own, so that it compares as Django does."""
    return kind.__module__.startswith(DJANGO_S)


def compares_plainly(field: Field[Any, Any]) -> bool:
    """Equality with values of `field` is Django's own: no other lookup is registered in its place."""
    # Another dict once a lookup was registered.
    lookups = field.get_lookups()
    known = _comparing.get(field)
    if known is None or known[0] is not lookups:
        found = [field.get_lookup(each) for each in ("exact", "in", "isnull")]
        known = lookups, all(each is not None and is_django_s_lookup(each) for each in found)
        _comparing.put(field, known)
    return known[1]


_comparing: LruMap[Any, tuple[Any, bool]] = LruMap(1000)


def is_django_s_query(query: Any) -> bool:
    """Its class is one of Django's own kinds of queries."""
    return type(query).__module__.startswith(DJANGO_S + ".sql.")


def is_django_s_join(join: Any) -> bool:
    """It is an entry of `Query.alias_map` as Django makes them; packages for recursive queries put others there."""
    return type(join) in (BaseTable, Join)


def joins_by_columns(join: Any) -> bool:
    """What it joins depends on columns, and on what Django itself adds: not on the language that is active, say."""
    if join.parent_alias is None:
        return True
    kind: Any = type(getattr(join.join_field, "field", join.join_field))
    return bool(join.join_cols) and kind.get_extra_restriction.__module__.startswith("django.")


def _kind_of_tokens(field: Any, vendor: str) -> Hashable:
    kind = kind_of(field)
    if kind in INTEGERS:
        return tokens.integer
    if kind in TEXTS:
        return _text_tokenizer(getattr(field, "db_collation", None), vendor), getattr(field, "db_collation", None)
    return kind


def _also_stored_by(field: Field[Any, Any]) -> list[Field[Any, Any]]:
    """Fields of other models of the same table whose column is that of `field`."""
    model = getattr(field, "model", None)
    if model is None or not apps.models_ready:
        return []
    return [each for each in _shared_columns().get((model._meta.db_table, field.column), ()) if each is not field]


@lru_cache(maxsize=1)
def _shared_columns() -> dict[tuple[str, Any], list[Field[Any, Any]]]:
    found: dict[tuple[str, Any], list[Field[Any, Any]]] = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        for field in [] if model._meta.proxy else model._meta.local_concrete_fields:
            found.setdefault((model._meta.db_table, field.column), []).append(field)
    return {place: fields for place, fields in found.items() if len(fields) > 1}


def _loses_zones(vendor: str) -> bool:
    """Times may be stored as those of a zone whose clocks are turned back: then two instants are the same.

    PostgreSQL stores instants; but what says no zone, it takes for the time of one.
    """
    if vendor == "postgresql":
        return not django_settings.USE_TZ
    zones = {each.get("TIME_ZONE") for each in connections.settings.values()}
    return not zones <= {None, "UTC"}


@on_change
def _forget(setting: str) -> None:
    if setting == "CACHEOPS_SKIP_FIELDS":
        _forget_fields()


def _on_class_prepared(**kwargs: Any) -> None:
    _shared_columns.cache_clear()
    _forget_fields()


def _forget_fields() -> None:
    for cached in (tokenizer, compares_by, tells_stored_apart):
        cached.cache_clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.schema.columns")


def token(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """The token of one value of `field`, None when it has none."""
    tokenize = tokenizer(field, vendor)
    return None if tokenize is None else token_by(tokenize, value)


def token_by(tokenize: tokens.Tokenizer, value: Any) -> str | None:
    """The token that `tokenize` gives a value, None when it has none."""
    if value is None:
        return tokens.NULL
    try:
        return tokenize(value)
    except Exception as error:
        # A class of the application's own may raise anything from __str__() or __int__().
        error_boundary.pass_interrupt(error)
        return None


def token_of_condition(field: Field[Any, Any], vendor: str, value: Any) -> str | None:
    """The token that rows have whose `field` equals `value`, None if they may have several.

    Where `has_odd_ones` they may have `values.ODD` as well.
    """
    found = token(field, vendor, value)
    return None if found == tokens.ODD else found


def has_odd_ones(field: Field[Any, Any], vendor: str) -> bool:
    """Some values of `field` have no token but `values.ODD`, and may equal any other."""
    return compares_by(field, vendor) is tokens.folded


def is_loose(field: Field[Any, Any], vendor: str) -> bool:
    """Values of `field` that differ may be equal."""
    return compares_by(field, vendor) in (tokens.folded, tokens.nocase, tokens.padded)


@cache
def compares_by(field: Field[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    """What makes tokens of a text as the column compares it, None if it has none."""
    target = target_of(field)
    if tokenizer(field, vendor) is None or kind_of(target) not in TEXTS:
        return None
    return _text_tokenizer(getattr(target, "db_collation", None), vendor)


def is_ours_to_read(field: Field[Any, Any]) -> bool:
    """An instance holds, after save(), what the database does: true unless the field computes what it stores."""
    return not isinstance(field, GeneratedField) and is_django_s(type(field), "pre_save")


def is_shown_as_stored(field: Field[Any, Any]) -> bool:
    """What is read of the column is what it holds, as Django's own fields show it; others may show something else."""
    return _all_django_s(field, *SHOWING_METHODS)


@cache
def tells_stored_apart(field: Field[Any, Any], vendor: str) -> bool:
    """Values that the column holds differ where those do that the field is known to hold, of instances and by `stored`.

    Else that two of them are equal proves nothing: a change counts.
    """
    is_known = vendor in ("sqlite", "postgresql", "mysql")
    return is_known and stores_plainly(field) and shows_instants(field, vendor)


def shows_plain_values(field: Field[Any, Any]) -> bool:
    """What is read of the column can't be changed in place."""
    kind = kind_of(target_of(field))
    is_plain = kind in INTEGERS or kind in TEXTS or kind in OTHERS or kind in ("DecimalField", "BinaryField")
    return is_plain and is_shown_as_stored(field)


def has_scale(field: Field[Any, Any]) -> bool:
    """Decimals that are equal are stored as one and the same."""
    return getattr(target_of(field), "decimal_places", None) is not None and stores_plainly(field)


def shows_instants(field: Field[Any, Any], vendor: str) -> bool:
    """Times that look the same are the same instant."""
    return not (kind_of(target_of(field)) == "DateTimeField" and _loses_zones(vendor))


def prepares_plainly(field: Field[Any, Any]) -> bool:
    """What is stored is given to the database as it is when it is written again."""
    return _all_django_s(field, "get_prep_value")


def kind_as_is(field: Field[Any, Any]) -> type | None:
    """The type whose values, and None, `field` gives to the database as they are; None if there is none."""
    while isinstance(field, ForeignKey):
        if not is_django_s(type(field), "get_prep_value"):
            return None
        field = field.target_field
    if not prepares_plainly(field):
        return None
    kind = kind_of(field)
    if kind in INTEGERS:
        return int
    return str if kind in TEXTS else AS_THEY_ARE.get(kind)


def stores_plainly(field: Field[Any, Any]) -> bool:
    """What a field's class of somebody else's stores is what Django's would."""
    return _all_django_s(field, *STORING_METHODS)


def _all_django_s(field: Field[Any, Any], *methods: str) -> bool:
    """Neither the field's class nor that of what it refers to overrides one of the methods."""
    kinds: list[Any] = [type(each) for each in _by_targets(field)]
    return all(is_django_s(kind, method) for kind in kinds for method in methods if hasattr(kind, method))


def is_django_s(kind: type, method: str) -> bool:
    """Nobody else overrides the method."""
    return bool(getattr(kind, method).__module__.startswith(DJANGO_S))


def _text_tokenizer(collation: str | None, vendor: str) -> tokens.Tokenizer | None:
    """As a collation compares, None being the database's default; unknown ones may tell anything apart."""
    if vendor == "postgresql":
        return tokens.text if collation in (None, "C", "POSIX", "C.UTF-8", "ucs_basic") else None
    if vendor == "sqlite":
        return {"BINARY": tokens.text, "NOCASE": tokens.nocase, "RTRIM": tokens.padded}.get(
            "BINARY" if collation is None else collation.upper()
        )
    if vendor == "mysql":
        is_binary = collation is not None and collation.lower().endswith("_bin")
        return tokens.padded if is_binary else tokens.folded
    return None


def _decimal_tokenizer(field: DecimalField[Any, Any], vendor: str) -> tokens.Tokenizer | None:
    if vendor == "sqlite" and (field.max_digits is None or field.max_digits > SQLITE_DIGITS):
        return None
    return tokens.decimal_of(field.max_digits, field.decimal_places, vendor)
