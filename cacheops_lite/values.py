"""Tokens: the canonical text of one column value.

The same function makes the token of a condition and of a row image, so two values that the database holds equal have
equal tokens.  Tokens are ASCII and free of the characters that Redis keys here are built with.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

Tokenizer = Callable[[Any], str]

# `quote` escapes "!" and "#", so no text has the token of NULL or of a longer text's hash.
NULL = "!"
LONGEST_TEXT = 64


def name(text: str) -> str:
    """A table's or column's name as it stands in keys."""
    return text if text.isascii() and text.isidentifier() else quote(text, safe="")


def integer(value: Any) -> str:
    return str(int(value))


def boolean(value: Any) -> str:
    return "1" if value else "0"


def text(value: Any) -> str:
    """Text that the database compares byte by byte."""
    # An enum's member is stored as the text that it is, whatever its own __str__ says.
    value = str.__str__(value) if isinstance(value, str) else str(value)
    if len(value) > LONGEST_TEXT:
        return "#" + hashlib.blake2b(_bytes(value), digest_size=16).hexdigest()
    return value if value.isascii() and value.isalnum() else quote(_bytes(value), safe="")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def uuid_hex(value: Any) -> str:
    return (value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))).hex


def real(value: Any) -> str:
    """A double; -0.0 equals 0.0, NaN equals nothing and so has no token."""
    number = float(value) + 0.0
    if number != number:
        raise ValueError("NaN has no token")
    return quote(repr(number), safe="+-.")


def date(value: Any) -> str:
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise TypeError(f"{value!r} is not a date")
    return value.isoformat()


def instant(value: Any) -> str:
    """A datetime; an aware one in UTC, so that the same instant has one token."""
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"{value!r} is not a datetime")
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc)
    return quote(value.isoformat(), safe="+-.")


def time(value: Any) -> str:
    if not isinstance(value, datetime.time) or value.tzinfo is not None:
        raise TypeError(f"{value!r} is not a naive time")
    return quote(value.isoformat(), safe="+-.")


def duration(value: Any) -> str:
    return str(value // datetime.timedelta(microseconds=1))


def decimal_of(max_digits: int | None, decimal_places: int | None) -> Tokenizer:
    """A tokenizer for decimals, which rounds as Django does when it stores one."""
    context = decimal.Context(prec=max_digits) if max_digits else decimal.getcontext()

    def token(value: Any) -> str:
        number = decimal.Decimal(value)
        if not number.is_finite():
            raise ValueError(f"{value!r} has no token")
        if decimal_places is not None:
            step = decimal.Decimal(1).scaleb(-decimal_places)
            number = number.quantize(step, context=context)
        return "0" if not number else f"{number.normalize(context):f}"

    return token
