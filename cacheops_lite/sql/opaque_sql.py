"""SQL that is not Django's: whether an expression has some, and what stands in it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ..schema import known_tables, watched_columns
from .statement_classifier import names_read

# A column and nothing else, its names free of quotes.
COLUMN = re.compile(r"""\(?(["`])(?P<alias>[^"`]+)\1\.\1(?P<column>[^"`]+)\1\)?""")


def may_read_tables(sql: str) -> bool:
    """A piece of SQL may hold a query of its own."""
    return re.search(r"\b(select|from|join|table|with)\b", sql, re.IGNORECASE) is not None


def is_composed_by_django(expression: Any, vendor: str) -> bool:
    """Its SQL is what Django makes of its parts, with no text of somebody else's, which may name columns and tables."""
    told = getattr(expression, "extra", None)
    told = told if isinstance(told, dict) else {}
    if "template" in told:
        return False
    for name, harmless in HARMLESS.items():
        text = told.get(name, getattr(expression, name, None))
        if isinstance(text, str) and not harmless.fullmatch(text):
            return False
    kind: Any = type(expression)
    return _has_no_sql_of_its_own(kind, vendor)


# What of an expression's own texts names nothing.
HARMLESS = {
    "function": re.compile(r"[\w.]*(?:\(\))?"),
    "arg_joiner": re.compile(r"\W*|\s*(?:AND|OR|FROM|AS|IN|USING|COLLATE)\s*", re.IGNORECASE),
    "connector": re.compile(r"\W*|AND|OR|XOR", re.IGNORECASE),
}


def is_plain_column(col: Any) -> bool:
    """It is selected as it is, with no SQL of somebody else's around it."""
    # A reverse relation has none.
    shown = getattr(type(col.output_field), "select_format", None)
    return type(col).__module__.startswith("django.") and (shown is None or shown.__module__.startswith("django."))


@cache
def _has_no_sql_of_its_own(kind: Any, vendor: str) -> bool:
    definers = (
        next((each for each in kind.__mro__ if name in vars(each)), None)
        for name in ("as_sql", f"as_{vendor}", "template", "process_lhs", "process_rhs", "get_rhs_op")
    )
    return all(definer is None or definer.__module__.startswith("django.") for definer in definers)


def tables_in(sql: str) -> set[str]:
    """The tables that stand after FROM or JOIN in SQL as Django composes it, with all its names quoted."""
    # What a dot follows is the table of a column, as in EXTRACT(YEAR FROM "t"."c").
    quoted = re.findall(r'\b(?:FROM|JOIN)\s+(?:"((?:[^"]|"")+)"|`((?:[^`]|``)+)`)(?!\s*\.)', sql, re.IGNORECASE)
    return {one.replace('""', '"') or other.replace("``", "`") for one, other in quoted}


def tables_named_in(sql: str) -> tuple[set[str], set[str]]:
    """The tables that texts of somebody else's name in a query's SQL, and the names there that nobody knows."""
    by_name = {table.lower(): table for table in known_tables()}
    names = set(names_read(sql))
    tables = {name for name in names if name.lower() in by_name}
    # As in EXTRACT(YEAR FROM column).
    columns = set().union(*watched_columns().values())
    return {by_name[name.lower()] for name in tables}, names - tables - columns
