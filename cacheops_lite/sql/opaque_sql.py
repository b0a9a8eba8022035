"""SQL text that Django did not compose: whether an expression contains some, and which tables it names."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ..schema import known_tables, tracked_columns
from .table_names import names_read

# A single column, with no quotes within its names.
COLUMN_PATTERN = re.compile(r"""\(?(["`])(?P<alias>[^"`]+)\1\.\1(?P<column>[^"`]+)\1\)?""")
# By attribute of an expression: texts that name neither a column nor a table.
HARMLESS_TEXTS = {
    "function": re.compile(r"[\w.]*(?:\(\))?"),
    "arg_joiner": re.compile(r"\W*|\s*(?:AND|OR|FROM|AS|IN|USING|COLLATE)\s*", re.IGNORECASE),
    "connector": re.compile(r"\W*|AND|OR|XOR", re.IGNORECASE),
}


def may_contain_query(sql: str) -> bool:
    """Return whether a piece of SQL may contain a query, which may read any table."""
    return re.search(r"\b(select|from|join|table|with)\b", sql, re.IGNORECASE) is not None


def is_composed_by_django(expression: Any, vendor: str) -> bool:
    """Return whether Django alone composes an expression's SQL.

    Text of the application or of another package in it may name columns and tables.
    """
    extra = getattr(expression, "extra", None)
    extra = extra if isinstance(extra, dict) else {}
    if "template" in extra:
        return False
    for name, harmless in HARMLESS_TEXTS.items():
        text = extra.get(name, getattr(expression, name, None))
        if isinstance(text, str) and not harmless.fullmatch(text):
            return False
    kind: Any = type(expression)
    return _has_django_sql_methods(kind, vendor)


def is_plain_column(col: Any) -> bool:
    """Return whether a column is selected without SQL of the application around it."""
    # Reverse relations have no select_format().
    select_format = getattr(type(col.output_field), "select_format", None)
    return type(col).__module__.startswith("django.") and (
        select_format is None or select_format.__module__.startswith("django.")
    )


@cache
def _has_django_sql_methods(kind: Any, vendor: str) -> bool:
    definers = (
        next((each for each in kind.__mro__ if name in vars(each)), None)
        for name in ("as_sql", f"as_{vendor}", "template", "process_lhs", "process_rhs", "get_rhs_op")
    )
    return all(definer is None or definer.__module__.startswith("django.") for definer in definers)


def quoted_tables(sql: str) -> set[str]:
    """Return the tables after FROM or JOIN in SQL as Django composes it, where all names are quoted."""
    # Before a dot stands the table of a column, as in EXTRACT(YEAR FROM "t"."c").
    quoted = re.findall(r'\b(?:FROM|JOIN)\s+(?:"((?:[^"]|"")+)"|`((?:[^`]|``)+)`)(?!\s*\.)', sql, re.IGNORECASE)
    return {one.replace('""', '"') or other.replace("``", "`") for one, other in quoted}


def tables_in_opaque_sql(sql: str) -> tuple[set[str], set[str]]:
    """Return the known tables that a query with opaque SQL names, and the names that belong to nothing known."""
    by_name = {table.lower(): table for table in known_tables()}
    names = set(names_read(sql))
    tables = {name for name in names if name.lower() in by_name}
    # A column may follow FROM, as in EXTRACT(YEAR FROM column).
    columns = set().union(*tracked_columns().values())
    return {by_name[name.lower()] for name in tables}, names - tables - columns
