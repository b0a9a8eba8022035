"""Tokens: the canonical text of one column value.

The same function makes the token of a condition and of a row image, so two values that the database holds equal have
equal tokens.  Tokens are ASCII and free of the characters that Redis keys here are built with.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import re
import string
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

Tokenizer = Callable[[Any], str]

# `quote` escapes "!" and "#", so no text has the token of NULL or of a longer text's hash.
NULL = "!"
LONGEST_TEXT = 64
# Tokens of texts that are equal to others of other bytes begin so.
LOOSE = "~"
# That of texts of which `folded` can't tell what they are equal to.
ODD = "~!"


def name(text: str) -> str:
    """A table's or column's name as it stands in keys."""
    return text if text.isascii() and text.isidentifier() else quote(text, safe="")


def plain(value: Any) -> Any:
    """`value`, in bytes if it is a view of some, as a driver of PostgreSQL yields them."""
    return bytes(value) if isinstance(value, memoryview) else value


def integer(value: Any) -> str:
    return str(int(value))


def boolean(value: Any) -> str:
    return "1" if value else "0"


def text(value: Any) -> str:
    """Text that the database compares byte by byte."""
    return _text(_as_stored(value))


def padded(value: Any) -> str:
    """Text that is equal to itself with other spaces at its end."""
    return LOOSE + _text(_as_stored(value).rstrip(" "))


def nocase(value: Any) -> str:
    """Text of which the case of ASCII letters does not count."""
    return LOOSE + _text(_as_stored(value).translate(_LOWER))


def folded(value: Any) -> str:
    """Text that some collation or other of MariaDB and MySQL compares, coarsely enough for each of them.

    Letters that one of them holds equal are one; in a run of letters each counts once, as some contract or expand them;
    what is not plain ASCII, or not everywhere the same, is `ODD`.
    """
    stored = _as_stored(value)
    if not _PLAIN.fullmatch(stored):
        return ODD
    return LOOSE + _text(_RUN.sub(_each_once, stored.lower().translate(_SAME)).rstrip(" "))


_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff\[\\\]^`{|}~?]*")
_RUN = re.compile("[a-z]+")
# i = j and u = v in Latin, i = y and ch = c in Lithuanian, v = w in Swedish, m = n on the Macintosh.
_SAME = str.maketrans("jyvwm", "iiuun", "h")


def _each_once(run: re.Match[str]) -> str:
    return "".join(dict.fromkeys(run[0]))


def _as_stored(value: Any) -> str:
    # An enum's member is stored as the text that it is, whatever its own __str__ says.
    return str.__str__(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        return "#" + hashlib.blake2b(_bytes(value), digest_size=16).hexdigest()
    return value if value.isascii() and value.isalnum() else quote(_bytes(value), safe="")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def no_longer(tokenize: Tokenizer, longest: int) -> Tokenizer:
    """`tokenize` for texts of at most so many characters; others have no token."""

    def token(value: Any) -> str:
        if len(_as_stored(value)) > longest:
            raise ValueError(f"{value!r} is longer than {longest} characters")
        return tokenize(value)

    return token


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


def decimal_of(max_digits: int | None, decimal_places: int | None, vendor: str) -> Tokenizer:
    """A tokenizer for decimals, which rounds as the database does when it stores one.

    SQLite does not round: there only those have a token that need no rounding.  To MariaDB and MySQL a number with an
    exponent is a double.
    """
    context = decimal.Context(prec=max_digits or 1000, rounding=decimal.ROUND_HALF_UP)

    def token(value: Any) -> str:
        number = decimal.Decimal(value)
        if not number.is_finite():
            raise ValueError(f"{value!r} has no token")
        if decimal_places is not None:
            rounded = number.quantize(decimal.Decimal(1).scaleb(-decimal_places), context=context)
            if rounded != number and (vendor == "sqlite" or (vendor == "mysql" and "E" in str(number))):
                raise ValueError(f"{value!r} is rounded")
            number = rounded
        return "0" if not number else f"{number.normalize(context):f}"

    return token
