"""Tokens: the canonical text of one column value.

The same function makes the tokens of conditions and of row images, and values that the database considers equal have
equal tokens.  Tokens are ASCII, without the characters that separate the parts of Redis keys.

A tokenizer raises an exception for a value that has no token.
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

# `quote` escapes "!" and "#", so no text has the token of NULL, or one that begins like that of a hashed text.
NULL = "!"
# In characters.  Longer texts are hashed.
MAX_PLAIN_CHARACTERS = 64
# The first character of tokens that stand for several texts which the database considers equal.
INEXACT = "~"
# The token of texts for which `folded` cannot determine what they are equal to.
INDETERMINATE = "~!"


def name_in_keys(text: str) -> str:
    """Return the name of a table or column as Redis keys contain it."""
    return text if text.isascii() and text.isidentifier() else quote(text, safe="")


def unwrap_memoryview(value: Any) -> Any:
    """Return `value`, as bytes if it is a memoryview, as which PostgreSQL drivers return binary columns."""
    return bytes(value) if isinstance(value, memoryview) else value


def integer(value: Any) -> str:
    return str(int(value))


def boolean(value: Any) -> str:
    return "1" if value else "0"


def text(value: Any) -> str:
    """Return the token of a text that the database compares byte by byte."""
    return _plain_or_hashed(_as_stored(value))


def padded(value: Any) -> str:
    """Return the token of a text that is compared without its trailing spaces."""
    return INEXACT + _plain_or_hashed(_as_stored(value).rstrip(" "))


def nocase(value: Any) -> str:
    """Return the token of a text that is compared without regard to the case of ASCII letters."""
    return INEXACT + _plain_or_hashed(_as_stored(value).translate(_TO_LOWER))


def folded(value: Any) -> str:
    """Return the token of a text that any collation of MariaDB or MySQL compares; it is coarse enough for all of them.

    Letters that some collation considers equal become one letter.  Of equal letters in a run of letters only the first
    remains, as some collations contract or expand letters.  A text with other characters than ASCII, or with characters
    that collations treat differently, is `INDETERMINATE`.
    """
    stored = _as_stored(value)
    return INEXACT + _plain_or_hashed(folded_text(stored)) if _UNAMBIGUOUS.fullmatch(stored) else INDETERMINATE


def folded_text(value: str) -> str:
    """Return the text of which `folded` makes the token.  Raises ValueError for one that is `INDETERMINATE`."""
    if not _UNAMBIGUOUS.fullmatch(value):
        raise ValueError(f"{value!r} has characters that collations treat differently")
    return _LETTERS.sub(_each_once, value.lower().translate(_EQUAL_LETTERS)).rstrip(" ")


_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_UNAMBIGUOUS = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff\[\\\]^`{|}~?]*")
_LETTERS = re.compile("[a-z]+")
# i = j and u = v in Latin, i = y and ch = c in Lithuanian, v = w in Swedish, m = n in Macintosh collations.
_EQUAL_LETTERS = str.maketrans("jyvwm", "iiuun", "h")


def _each_once(run: re.Match[str]) -> str:
    return "".join(dict.fromkeys(run[0]))


def _as_stored(value: Any) -> str:
    # A member of a str enum is stored as its text, not as its __str__() says.
    return str.__str__(value) if isinstance(value, str) else str(value)


def _plain_or_hashed(value: str) -> str:
    if len(value) > MAX_PLAIN_CHARACTERS:
        return "#" + hashlib.blake2b(_bytes(value), digest_size=16).hexdigest()
    return value if value.isascii() and value.isalnum() else quote(_bytes(value), safe="")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def limited_to(tokenize: Tokenizer, max_length: int) -> Tokenizer:
    """Return `tokenize` for texts of at most `max_length` characters; longer ones have no token."""

    def token(value: Any) -> str:
        if len(_as_stored(value)) > max_length:
            raise ValueError(f"{value!r} is longer than {max_length} characters")
        return tokenize(value)

    return token


def uuid_hex(value: Any) -> str:
    return (value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))).hex


def real(value: Any) -> str:
    """Return the token of a double: -0.0 has that of 0.0; NaN has none, as it equals nothing."""
    number = float(value) + 0.0
    if number != number:
        raise ValueError("NaN has no token")
    return quote(repr(number), safe="+-.")


def date(value: Any) -> str:
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise TypeError(f"{value!r} is not a date")
    return value.isoformat()


def instant(value: Any) -> str:
    """Return the token of a datetime; an aware one is converted to UTC, so that an instant has one token."""
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
    """Return a tokenizer for decimals, which rounds as the database does when it stores one.

    SQLite does not round: there a decimal that needs rounding has no token.  MariaDB and MySQL take a number with an
    exponent for a double: it has no token if it needs rounding.
    """
    context = decimal.Context(prec=max_digits or 1000, rounding=decimal.ROUND_HALF_UP)

    def token(value: Any) -> str:
        number = decimal.Decimal(value)
        if not number.is_finite():
            raise ValueError(f"{value!r} is not finite")
        if decimal_places is not None:
            rounded = number.quantize(decimal.Decimal(1).scaleb(-decimal_places), context=context)
            if rounded != number and (vendor == "sqlite" or (vendor == "mysql" and "E" in str(number))):
                raise ValueError(f"{value!r} has more than {decimal_places} decimal places")
            number = rounded
        return "0" if not number else f"{number.normalize(context):f}"

    return token
