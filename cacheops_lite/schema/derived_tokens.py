"""Make the tokens of derived conditions from the values of lookups, where it is certain how the database compares.

Constants are widened: a condition is met by all rows that the database returns, and by some more.  So constants that
move with the time, or with what users type, make a bounded number of dependency shapes.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Field

from ..utils import error_boundary
from . import columns, tokens
from .derived_conditions import MEETS_NULL, SEPARATOR
from .field_traits import INTEGER_TYPES, SQLITE_DECIMAL_DIGITS, internal_type, target_of

# Operators are those of `derived_conditions`; "i^", "i*" and "i$" are "^", "*" and "$" without regard to case.
ORDER = frozenset({"<", "<=", ">", ">="})
PATTERNS = frozenset({"^", "*", "$", "i^", "i*", "i$"})
# More values of "!=" make no condition.
MAX_REFUSED = 8
# Texts are compared by so many characters.
MAX_CHARACTERS = 8
SIGNIFICANT_DIGITS = 2
HOUR = datetime.timedelta(hours=1)
# In characters.  Longer tokens, of several long texts, make keys too long.
MAX_LENGTH = 200
# Collations of PostgreSQL that sort by code point.  The default may be any.
POSTGRESQL_SORTS_BYTES = ("C", "POSIX", "ucs_basic")

# Takes the field, the vendor, the operator and the value; returns the operator and the operand of the token.
# Raises any exception if the condition can't be expressed.
Maker = Callable[[Any, str, str, Any], str]


def is_supported(field: Field[Any, Any], vendor: str, operator: str) -> bool:
    """Return whether conditions with this operator on `field` have tokens, for some values at least."""
    if columns.tokenizer(field, vendor) is None:
        return False
    if operator == "!=":
        return _tells_unequal(field, vendor)
    if operator in PATTERNS:
        return columns.comparison_tokenizer(field, vendor) in (tokens.text, tokens.nocase, tokens.folded)
    return _maker(field, vendor) is not None


def derived_token(
    field: Field[Any, Any], vendor: str, operator: str, values: Sequence[Any], meets_null: bool = False
) -> str | None:
    """Return the token of ``field <operator> value``, None if it is not certain which rows meet that.

    The values are as Django prepares them for the database: several for ``!=``, else one.
    """
    if not is_supported(field, vendor, operator):
        return None
    try:
        if operator == "!=":
            token = _unequal(field, vendor, values)
        elif operator in PATTERNS:
            token = _pattern(field, vendor, operator, values[0])
        else:
            make: Any = _maker(field, vendor)
            token = make(target_of(field), vendor, operator, values[0])
    except Exception as error:
        # A class of the application may raise anything.
        error_boundary.reraise_interrupt(error)
        return None
    if len(token) > MAX_LENGTH:
        return None
    return MEETS_NULL + token if meets_null else token


def _tells_unequal(field: Field[Any, Any], vendor: str) -> bool:
    """Return whether values with equal tokens are surely equal for the database."""
    if columns.compares_inexactly(field, vendor):
        return False
    target = target_of(field)
    # Longer decimals are compared with a text, as doubles.
    return not (vendor == "mysql" and internal_type(target) == "DecimalField" and _digits(target) > 15)


def _digits(field: Any) -> int:
    return 1000 if field.max_digits is None else field.max_digits


def _unequal(field: Field[Any, Any], vendor: str, values: Sequence[Any]) -> str:
    if not 0 < len(values) <= MAX_REFUSED:
        raise ValueError(f"{len(values)} values")
    found = set()
    for value in values:
        token = columns.token(field, vendor, value)
        if token is None or value is None:
            raise ValueError(f"{value!r} has no token")
        if isinstance(value, decimal.Decimal) and decimal.Decimal(token) != value:
            # No row has this value; some may have the rounded one.
            raise ValueError(f"{value!r} is rounded")
        if isinstance(value, float) and internal_type(target_of(field)) != "FloatField":
            raise ValueError(f"{value!r} may be rounded")
        found.add(token)
    return "!=" + SEPARATOR.join(sorted(found))


def _maker(field: Field[Any, Any], vendor: str) -> Maker | None:
    """Return what makes the tokens of comparisons by order; None if the order of values is not that of tokens."""
    target = target_of(field)
    kind = internal_type(target)
    if kind in INTEGER_TYPES:
        return _integer
    if kind == "DecimalField":
        is_exact = vendor == "postgresql" or _digits(target) <= SQLITE_DECIMAL_DIGITS
        return _decimal if is_exact and target.decimal_places is not None else None
    if columns.comparison_tokenizer(field, vendor) is tokens.text:
        collation = getattr(target, "db_collation", None)
        return _text if vendor == "sqlite" or collation in POSTGRESQL_SORTS_BYTES else None
    return _MAKERS.get(kind)


def _require(value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")


def _integer(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, int)
    # Django leaves out a comparison with a number that no column can have, whether the column is NULL or not.
    first, last = BaseDatabaseOperations.integer_field_ranges.get(internal_type(field), (-(2**63), 2**63 - 1))
    if not first <= value <= last:
        raise ValueError(f"{value} is out of range")
    return _number(operator, decimal.Decimal(value))


def _decimal(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, decimal.Decimal)
    if not value.is_finite():
        raise ValueError(f"{value!r} is not finite")
    context = decimal.Context(prec=1000, rounding=_outwards(operator))
    rounded = value.quantize(decimal.Decimal(1).scaleb(-field.decimal_places), context=context)
    # The database or Django may round the value to either side.
    return _number(operator if rounded == value else f"{operator[0]}=", rounded)


def _real(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, float)
    # A text that is closest to no other double.  So these texts have the order of the doubles.
    return _number(operator, decimal.Decimal(repr(value)))


def _duration(field: Any, vendor: str, operator: str, value: Any) -> str:
    return _number(operator, decimal.Decimal(tokens.duration(value)))


def _outwards(operator: str) -> str:
    return decimal.ROUND_CEILING if operator[0] == "<" else decimal.ROUND_FLOOR


def _number(operator: str, value: decimal.Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value!r} is not finite")
    widened = decimal.Context(prec=SIGNIFICANT_DIGITS, rounding=_outwards(operator)).plus(value).normalize()
    if not widened:
        return f"{operator}0"
    return operator + (f"{widened:f}" if -6 <= widened.adjusted() <= 9 else str(widened))


def _text(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, str)
    if operator[0] == "<":
        if len(value) > MAX_CHARACTERS:
            raise ValueError(f"{value!r} is long")
        return f'{operator}"{_quoted(value)}'
    if len(value) > MAX_CHARACTERS:
        operator, value = ">=", value[:MAX_CHARACTERS]
    return f'{operator}"{_quoted(value)}'


def _date(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, datetime.date)
    if operator in ("<=", ">"):
        value += datetime.timedelta(days=1)
    return f"{'<' if operator[0] == '<' else '>='}'{tokens.date(value)}"


def _time(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, datetime.time)
    floor = tokens.time(value)[:2]
    if operator[0] == ">":
        return f">='{floor}"
    is_exact = operator == "<" and value == datetime.time(value.hour)
    return f"<'{floor if is_exact else f'{value.hour + 1:02}'}"


def _instant(field: Any, vendor: str, operator: str, value: Any) -> str:
    _require(value, datetime.datetime)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc)
    floor = value.replace(minute=0, second=0, microsecond=0)
    if operator[0] == "<" and (operator == "<=" or floor != value):
        floor += HOUR
    # The beginning of a text sorts before it.
    return f"{'<' if operator[0] == '<' else '>='}'{floor.isoformat()[:13].removesuffix('T00')}"


_MAKERS: dict[str, Maker] = {
    "FloatField": _real,
    "DateField": _date,
    "DateTimeField": _instant,
    "TimeField": _time,
    "DurationField": _duration,
}


def _pattern(field: Field[Any, Any], vendor: str, operator: str, value: Any) -> str:
    """Return what a row meets that the database finds by LIKE.

    PostgreSQL compares upper case by rules that depend on the locale, which for ASCII agree; SQLite ignores the case of
    ASCII letters always; MariaDB and MySQL compare bytes, or one character after the other by the collation.
    """
    _require(value, str)
    is_caseless = operator[0] == "i" or vendor == "sqlite"
    kind = operator[-1]
    text = value[-MAX_CHARACTERS:] if kind == "$" else value[:MAX_CHARACTERS]
    if not text:
        raise ValueError("each text matches")
    # SQLite takes a pattern to end at NUL.  What a backslash means depends on a mode of MariaDB and MySQL.
    if "\0" in value or (vendor == "mysql" and not set("\\%_").isdisjoint(value)):
        raise ValueError(f"{value!r} has characters with a meaning")
    if (is_caseless or vendor == "mysql") and not value.isascii():
        raise ValueError(f"{value!r} has other characters than ASCII")
    if columns.comparison_tokenizer(field, vendor) is tokens.folded:
        folded = tokens.folded_text(text)
        if not folded:
            raise ValueError("each text matches")
        if kind == "^":
            return f"^~{_quoted(folded)}"
        return f"@{_quoted(''.join(sorted(set(folded))))}"
    return f"{kind}~{_quoted(text.lower())}" if is_caseless else f"{kind}{_quoted(text)}"


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
