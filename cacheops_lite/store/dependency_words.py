"""Say in words which rows a dependency means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import starmap
from urllib.parse import unquote

from ..schema import INDETERMINATE, INEXACT, NULL, derived_conditions, is_derived, json_keys


def describe_dependency(name: str) -> str:
    """Return a dependency in words; `name` is as it follows ``d:`` in keys, or a table's name for any row of it."""
    table, _, rest = name.partition(":")
    conditions, _, read = rest.partition("|")
    pairs = [_column_and_token(each) for each in conditions.split("&") if each]
    # A long list of columns is hashed in names.
    columns = None if read in ("", "*") or read.startswith("#") else list(map(unquote, read.split(",")))
    return dependency_in_words(unquote(table), [(unquote(column), token) for column, token in pairs], columns)


def describe_shape(name: str) -> str:
    """Do what `describe_dependency` does, with a question mark for each value."""
    table, _, rest = name.partition(":")
    pairs = [_column_and_token(each) for each in rest.partition("|")[0].split("&") if each]
    where = " and ".join(
        derived_conditions.in_words(json_keys.in_words(unquote(column)), token, with_values=False)
        if is_derived(token)
        else f"{json_keys.in_words(unquote(column))} = ?"
        for column, token in pairs
    )
    return f"{unquote(table)}: {f'rows where {where}' if where else 'any row'}"


def _column_and_token(condition: str) -> tuple[str, str]:
    column, _, token = condition.partition("=")
    return derived_conditions.split_name(condition) or (column, token)


def dependency_in_words(table: str, conditions: Iterable[tuple[str, str]], columns: Sequence[str] | None) -> str:
    """Return in words the rows of a table that meet the conditions; `columns` are those that are read, None for all."""
    read = "" if columns is None else f" (columns {', '.join(columns) or 'none'})"
    where = " and ".join(starmap(_condition_in_words, conditions))
    return f"{table}: {f'rows where {where}' if where else 'any row'}{read}"


def _condition_in_words(column: str, token: str) -> str:
    column = json_keys.in_words(column)
    if is_derived(token):
        return derived_conditions.in_words(column, token)
    if token == NULL:
        return f"{column} is NULL"
    if token == INDETERMINATE:
        return f"{column} is a value that the database compares in ways of its own"
    if token.startswith(INEXACT):
        return f"{column} equals {unquote(token.removeprefix(INEXACT))} for the database"
    return f"{column} = {unquote(token)}"
