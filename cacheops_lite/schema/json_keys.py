"""Keys of JSON columns in conditions, such as ``meta__kind="news"``: a key counts as a column of its own.

Its name is that of the column and the path to the key, joined by a character that no database allows in names of
columns.  A release that does not know such names takes it for a column that no row has, and invalidates the table.

Databases disagree on which values are equal: SQLite takes the text "true" for true, MariaDB ignores trailing spaces and
takes the text "1" for the number, PostgreSQL does neither.  A token stands for all values that any of them considers
equal, so there are no negated conditions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import quote

from django.db.models import Field

from ..utils import error_boundary
from . import columns, tokens
from .field_traits import internal_type, stores_like_django, target_of
from .stored_values import json_text

SEPARATOR = "\0"
_SEPARATOR_IN_KEYS = quote(SEPARATOR)
# Databases take a number for the index of an array, and each has its own rules for escapes.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_DEPTH = 4
VENDORS = frozenset({"sqlite", "postgresql", "mysql"})
# Of an object or an array, which SQLite and MariaDB take for its text, and of texts that look like one.
_CONTAINER = tokens.INEXACT + "["


@cache
def has_keys(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether it is known how the database compares the keys of `field`'s values."""
    target = target_of(field)
    return (
        vendor in VENDORS
        and internal_type(target) == "JSONField"
        and stores_like_django(field)
        and not columns.shares_column(field)
        # Django makes a column of MariaDB that compares texts by their bytes.
        and (vendor != "mysql" or _is_managed(field))
    )


def _is_managed(field: Any) -> bool:
    model = getattr(field, "model", None)
    return model is not None and model._meta.managed


def key_column(field: Field[Any, Any], vendor: str, path: Sequence[str]) -> str | None:
    """Return the name that conditions have for a key of `field`'s values; None if it is not known what it finds."""
    is_plain = len(path) <= MAX_DEPTH and all(_PLAIN_KEY.fullmatch(key) for key in path)
    return SEPARATOR.join((str(field.column), *path)) if is_plain and has_keys(field, vendor) else None


def stored_column(name: str) -> str:
    """Return the column that a condition on `name` reads: a column itself, or the one that has the key."""
    return name.partition(SEPARATOR)[0]


def split_quoted(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the column and the path to the key, which is empty for a column; both as keys of Redis have them."""
    column, *path = name.split(_SEPARATOR_IN_KEYS)
    return column, tuple(path)


def in_words(name: str) -> str:
    """Return a name as messages show it."""
    return name.replace(SEPARATOR, ".")


def condition_token(field: Field[Any, Any], value: Any) -> str | None:
    """Return the token of the rows in which a key equals a scalar, None if they may have several."""
    if value is not None and type(value) not in (str, int, float, bool):
        return None
    # The backend encodes the value like those of the field.
    text = snapshot(field, value)
    return None if text is None else token_at(text, ())


def snapshot(field: Field[Any, Any], value: Any) -> str | None:
    """Return the text that the database gets for a value, which the application may change later; None if unknown."""
    try:
        return json_text(target_of(field), value)
    except Exception as error:
        # An encoder of the application may raise anything.
        error_boundary.reraise_interrupt(error)
        return None


def tokenizer_of(field: Field[Any, Any], path: Sequence[str]) -> tokens.Tokenizer:
    """Return the function that makes the tokens of the key at `path` in values of `field`."""

    def tokenize(value: Any) -> str:
        found = token_at(json_text(target_of(field), value), path)
        if found is None:
            raise ValueError("the databases may read this differently")
        return found

    return tokenize


def token_at(text: str, path: Sequence[str]) -> str | None:
    """Return the token of the key at `path` in a JSON text, None if it is not known how the database reads it."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_reject)
        for key in path:
            if type(value) is not dict or key not in value:
                return tokens.NULL
            value = value[key]
        return _token(value)
    except (ValueError, RecursionError):
        return None


def _token(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if text[:1] in ("[", "{"):
        return _CONTAINER
    # A database may end a text here.
    text = text.partition("\0")[0].rstrip(" ")
    if "\ufffd" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a database may replace halves of surrogate pairs")
    try:
        # 1 equals 1.0 and may equal "1".
        text = repr(float(text) + 0.0)
    except ValueError:
        pass
    except OverflowError:
        text = "inf"
    return tokens.INEXACT + tokens.text(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("databases differ in which of two equal keys they find")
    return found


def _reject(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
