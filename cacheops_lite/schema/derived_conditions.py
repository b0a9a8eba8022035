"""Derived conditions: what a token is compared with otherwise than for equality, such as ``price < 100``.

In a condition, a derived token stands in place of the token of a value.  It begins with an operator, as no token of a
value does, and needs nothing else to be evaluated::

    <100  <=2.5  >0  >=1.3E+9           numbers
    <'2026-01-02  >='2026-01-01T05      dates and times: their tokens have the order of time
    <"abc  >="abc                       texts that the database compares by code point
    !=5  !=5;7  !=!                     other tokens than these; not NULL
    ^abc  *abc  $abc                    texts that begin with, contain or end with another
    ^~abc  *~abc  $~abc                 the same, without regard to the case of ASCII letters
    @abc                                texts with all of these characters

NULL meets none of them, unless a question mark comes first.  What cannot be compared with certainty counts as met.
"""

from __future__ import annotations

import decimal
import operator
import re
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from .tokens import INEXACT, NULL

MEETS_NULL = "?"
# What separates the tokens of ``!=``.
SEPARATOR = ";"
NOT_NULL = f"!={NULL}"
# The first characters of derived tokens.  Names of columns and tokens of values contain none of them, except NULL.
_FIRST = frozenset("?<>^*$@")
_SYNTAX = re.compile(r"(\??)(!=|[<>]=?['\"]?|[\^*$]~?|@)(.*)", re.DOTALL)
_NAME = re.compile(r"([^?<>^*$@!=]+)((?:[?<>^*$@]|!=).+)", re.DOTALL)


def is_derived(token: str) -> bool:
    """Return whether a condition's token is that of a derived condition."""
    return token[:1] in _FIRST or token[:2] == "!="


def split_name(name: str) -> tuple[str, str] | None:
    """Return the (quoted) column and the derived token of ``price<100``, None for the name of a plain column."""
    found = _NAME.fullmatch(name)
    return (found[1], found[2]) if found else None


def _unquoted(token: str) -> str:
    return unquote(token, errors="surrogatepass")


def _number(token: str) -> decimal.Decimal | None:
    try:
        number = decimal.Decimal(token)
    except decimal.InvalidOperation:
        return None
    return None if number.is_nan() else number


def _time(token: str) -> str | None:
    return token if token[:1].isdigit() else None


def _text(token: str) -> str | None:
    # A long text is hashed.
    return None if token[:1] in ("#", INEXACT) else _unquoted(token)


def _caseless_text(token: str) -> str | None:
    """Return the text in lower case, None if it is not known what its letters equal."""
    plain = token.removeprefix(INEXACT)
    text = None if plain[:1] in ("#", NULL) else _unquoted(plain)
    return text.lower() if text is not None and text.isascii() else None


def _characters(token: str) -> frozenset[str] | None:
    text = _caseless_text(token)
    return None if text is None else frozenset(text)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "^": str.startswith,
    "*": operator.contains,
    "$": str.endswith,
    "@": operator.ge,
}
_NUMERIC = frozenset(("<", "<=", ">", ">="))
_READERS: dict[str, Callable[[str], Any]] = {"": _text, "'": _time, '"': _text, "~": _caseless_text}


class DerivedCondition:
    """A derived condition on the tokens of one column.

    `read` makes of a token what `compare` compares with `operand`; it returns None for a token that is not comparable.
    For ``!=``, `refused` are the tokens that do not meet it, and `read` is None.  `order` is ``"<"`` or ``">"`` for the
    four comparisons; `rank` sorts those of one order and reader: each one that comes later is met as well as an earlier
    one for ``"<"``, and the other way round for ``">"``.
    """

    __slots__ = ("compare", "meets_null", "operand", "operator", "order", "read", "refused", "symbol")

    def __init__(self, meets_null: bool, symbol: str, operand: str):
        self.meets_null = meets_null
        # Such as ``<'``: the operator and the kind of its operand.
        self.symbol = symbol
        self.operator = symbol if symbol == "!=" else symbol.rstrip("'\"~")
        self.order = self.operator[0] if self.operator[0] in "<>" else ""
        self.refused: frozenset[str] = frozenset()
        self.read: Callable[[str], Any] | None = None
        self.operand: Any = operand
        if symbol == "!=":
            self.refused = frozenset(operand.split(SEPARATOR)) | (frozenset() if meets_null else {NULL})
            return
        self.compare = _COMPARE[self.operator]
        if symbol in _NUMERIC:
            self.read = _number
            self.operand = decimal.Decimal(operand)
        elif symbol == "@":
            self.read = _characters
            self.operand = frozenset(_unquoted(operand))
        else:
            self.read = _READERS[symbol[len(self.operator) :]]
            self.operand = operand if self.read is _time else _unquoted(operand)

    @property
    def family(self) -> Hashable:
        """Conditions on a column whose tokens are read in the same way and compared in the same direction share it."""
        return self.read, self.order or self.operator

    @property
    def rank(self) -> tuple[Any, int]:
        """The place among conditions of one family with an order."""
        return self.operand, self.operator in ("<=", ">")

    def is_met(self, token: str) -> bool:
        """Return whether a row with this token meets the condition, or may meet it."""
        if self.read is None:
            return token not in self.refused
        if token == NULL:
            return self.meets_null
        value = self.read(token)
        return value is None or self.compare(value, self.operand)


@lru_cache(maxsize=4096)
def parse(token: str) -> DerivedCondition | None:
    """Return the condition of a derived token, None if it has another syntax."""
    found = _SYNTAX.fullmatch(token)
    try:
        return DerivedCondition(bool(found[1]), found[2], found[3]) if found else None
    except decimal.InvalidOperation:
        return None


_WORDS = {
    "^": "begins with {}",
    "*": "contains {}",
    "$": "ends with {}",
    "^~": "begins with {}, in any case",
    "*~": "contains {}, in any case",
    "$~": "ends with {}, in any case",
    "@": "has the characters {}",
}


def in_words(column: str, token: str, with_values: bool = True) -> str:
    """Return a derived condition on a column in words, without its values if they are not asked for."""
    found = _SYNTAX.fullmatch(token)
    if found is None:
        return f"{column} {token}"
    marker, symbol, operand = found.groups()
    if operand == NULL and symbol == "!=":
        return f"{column} is not NULL"
    values = " or ".join(map(unquote, operand.split(SEPARATOR))) if with_values else "?"
    comparison = _WORDS.get(symbol, symbol.rstrip("'\"") + " {}").format(values)
    return f"{column} {comparison}" + (" or is NULL" if marker else "")
