"""A system check that compares columns of a database with fields: ``manage.py migrate`` and ``check --database``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning
from django.core.checks.registry import registry
from django.db import connections, router
from django.db.models import DecimalField

from .schema import (
    INTEGER_TYPES,
    TEXT_TYPES,
    Column,
    all_tracked_models,
    columns_of,
    comparison_tokenizer,
    database_views,
    normalized_name,
    target_of,
    tokenizer,
    tokens,
)
from .utils import error_boundary

# Returns how a column treats values differently from its field, as a clause; None if it does not.
Rule = Callable[[Column, Any], "str | None"]
# Decimal places of a second that Python's datetime has.
SECOND_DIGITS = 6
HINT = (
    "Change the column's type to {expected}. Or let the field describe the column: by its db_collation, max_length or "
    "decimal_places, or by a field class of your own whose db_type() returns the column's type; values of such a class "
    "make no conditions. Or add {kind!r} to CACHEOPS_SKIP_FIELDS."
)


def install() -> None:
    """Register the check with Django."""
    registry.register(check_columns, Tags.database)


def uninstall() -> None:
    """Unregister the check."""
    registry.registered_checks.discard(check_columns)


def check_columns(app_configs: Any, databases: Iterable[str] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn about columns that compare or store values differently from their fields.

    Conditions on such columns would miss writes.
    """
    messages: list[CheckMessage] = []
    for using in databases or ():
        try:
            messages += [
                Warning(
                    f"The field {field} has the column {table}.{column} on the database {using!r}, {problem}: cached "
                    f"queries with a condition on {field.name} may miss writes.",
                    hint=HINT.format(
                        expected=field.db_parameters(connections[using])["type"],
                        kind=target_of(field).get_internal_type(),
                    ),
                    obj=field,
                    id="cacheops_lite.W006",
                )
                for table, column, field, problem in _differing_columns(using)
            ]
        except Exception as error:
            # For example, the user may not be allowed to read the catalog.  That must not prevent a migration.
            error_boundary.log_failure(f"The columns of the database {using!r} can't be checked", error)
    return messages


def _differing_columns(using: str) -> Iterator[tuple[str, str, Any, str]]:
    """Yield the table, column, field and problem of each column that differs from its field."""
    connection: Any = connections[using]
    if connection.vendor not in RULES:
        return
    fields = {
        (model._meta.db_table, str(field.column)): field
        for model in all_tracked_models()
        # Any write to a table that a view reads invalidates all results of the view.
        if router.allow_migrate_model(using, model) and database_views.is_table(model, using)
        for field in model._meta.local_concrete_fields
        if tokenizer(field, connection.vendor) is not None
    }
    found = columns_of(connection, {table for table, _ in fields})
    for (table, name), field in sorted(fields.items(), key=lambda each: each[0]):
        column = found.get((normalized_name(table), normalized_name(name)))
        problem = None if column is None else problem_of(column, field, connection.vendor)
        if problem:
            yield table, name, field, problem


def problem_of(column: Column, field: Any, vendor: str) -> str | None:
    """Return how `column` treats values differently from `field`, as a clause; None if it does not."""
    target = target_of(field)
    if (rule := RULES[vendor][_group_of(target)].get(column.kind)) is None:
        problem: str | None = OTHER_KINDS[vendor].get(column.kind, "which is not the type that the field stores")
    else:
        problem = rule(column, target)
    if problem is not None:
        return f"whose type is {column.declared}, {problem}"
    if _group_of(target) == "text" and not _compares_as(column, comparison_tokenizer(field, vendor), vendor):
        return (
            f"whose collation {column.collation} treats texts as equal that the field treats as different, because the "
            "field does not declare that collation"
        )
    return None


def _group_of(target: Any) -> str:
    kind = target.get_internal_type()
    if kind in INTEGER_TYPES:
        return "integer"
    if kind in TEXT_TYPES:
        return "text"
    return "decimal" if isinstance(target, DecimalField) else str(kind)


def _compares_as(column: Column, tokenize: tokens.Tokenizer | None, vendor: str) -> bool:
    """Return whether texts that the column treats as equal have the same token."""
    if column.compares_bytes:
        return True
    if vendor == "sqlite":
        return {"NOCASE": tokens.nocase, "RTRIM": tokens.padded}.get(str(column.collation)) is tokenize
    # On MariaDB and MySQL tokens are coarse enough for any collation, unless the field declares a binary one.
    return vendor == "mysql" and (tokenize is tokens.folded or column.collation is None)


def _keeps_all(column: Column, field: Any) -> str | None:
    return None


def _keeps_microseconds(column: Column, field: Any) -> str | None:
    is_short = column.size is not None and column.size < SECOND_DIGITS
    return f"which keeps {column.size} decimal places of a second" if is_short else None


def _keeps_trailing_spaces(column: Column, field: Any) -> str | None:
    longest = field.max_length
    is_short = column.size is not None and (longest is None or column.size < longest)
    return f"which cuts off spaces after {column.size} characters" if is_short else None


def _keeps_integers(column: Column, field: Any) -> str | None:
    return f"which rounds to {column.scale} decimal places" if (column.scale or 0) < 0 else None


def _keeps_decimal_places(column: Column, field: Any) -> str | None:
    places = field.decimal_places
    if column.scale is None:
        return None if places is None else "which returns equal numbers in several forms, such as 1.0 and 1.00"
    return f"which rounds to {column.scale} decimal places" if places is None or column.scale < places else None


def _keeps_whole_numbers(column: Column, field: Any) -> str | None:
    return None if field.decimal_places == 0 else "which rounds to 0 decimal places"


def _keeps_all_digits(column: Column, field: Any) -> str | None:
    return None if column.scale is None else f"which rounds to {column.scale} decimal places"


def _by_kind(**rules: str) -> dict[str, Rule]:
    """Map each kind of column to its rule.  The argument of each rule is the kinds that it applies to."""
    return {kind: globals()[f"_{rule}"] for rule, kinds in rules.items() for kind in kinds.split()}


MYSQL_INTEGERS = "tinyint smallint mediumint int bigint"
MYSQL_TEXTS = "char varchar tinytext text mediumtext longtext"
ANY_AFFINITY = _by_kind(keeps_all="text blob integer numeric real")
# By database vendor and group of fields: the kinds of columns that compare as the field does, each with a rule that
# checks the rest.
RULES: dict[str, dict[str, dict[str, Rule]]] = {
    "postgresql": {
        "integer": _by_kind(keeps_all="int2 int4 int8 oid", keeps_integers="numeric"),
        "text": _by_kind(keeps_all="text enum", keeps_trailing_spaces="varchar"),
        "decimal": _by_kind(keeps_decimal_places="numeric", keeps_whole_numbers="int2 int4 int8"),
        "BooleanField": _by_kind(keeps_all="bool"),
        "UUIDField": _by_kind(keeps_all="uuid"),
        "FloatField": _by_kind(keeps_all="float8"),
        "DateField": _by_kind(keeps_all="date"),
        "DateTimeField": _by_kind(keeps_microseconds="timestamptz"),
        "TimeField": _by_kind(keeps_microseconds="time"),
        "DurationField": _by_kind(keeps_microseconds="interval"),
    },
    "mysql": {
        "integer": _by_kind(keeps_all=MYSQL_INTEGERS, keeps_integers="decimal"),
        "text": _by_kind(keeps_all=f"{MYSQL_TEXTS} enum"),
        "decimal": _by_kind(keeps_decimal_places="decimal", keeps_whole_numbers=MYSQL_INTEGERS),
        "BooleanField": _by_kind(keeps_all=MYSQL_INTEGERS),
        # MariaDB has a uuid type since 10.7.
        "UUIDField": _by_kind(keeps_all="uuid char varchar"),
        "FloatField": _by_kind(keeps_all_digits="double"),
        "DateField": _by_kind(keeps_all="date"),
        "DateTimeField": _by_kind(keeps_microseconds="datetime"),
        "TimeField": _by_kind(keeps_microseconds="time"),
        "DurationField": _by_kind(keeps_all="int bigint"),
    },
    # Kinds are SQLite's affinities.  An affinity that converts texts to numbers changes texts, and the reverse.
    "sqlite": {
        "integer": _by_kind(keeps_all="integer numeric blob text"),
        "text": _by_kind(keeps_all="text blob"),
        "decimal": _by_kind(keeps_all="integer numeric real"),
        "BooleanField": _by_kind(keeps_all="integer numeric real blob"),
        "UUIDField": _by_kind(keeps_all="text blob"),
        "FloatField": _by_kind(keeps_all="integer numeric real blob"),
        "DateField": ANY_AFFINITY,
        "DateTimeField": ANY_AFFINITY,
        "TimeField": ANY_AFFINITY,
        "DurationField": _by_kind(keeps_all="integer numeric blob"),
    },
}
# How columns of other kinds treat values.
OTHER_KINDS = {
    "postgresql": {
        "bpchar": "which pads texts with spaces, and ignores spaces at the end in comparisons",
        "citext": "which treats texts as equal that differ only in case",
        "name": "which cuts texts off after 63 bytes",
        "float4": "which keeps 6 digits",
        "float8": "which keeps 15 digits, not exact integers",
        "numeric": "which keeps more or fewer digits",
        "money": "which rounds to cents",
        "timestamp": "which has no time zone",
        "date": "which stores no time of day",
    },
    "mysql": {
        "float": "which keeps 6 digits",
        "double": "which keeps 15 digits, not exact integers",
        "bit": "which returns bytes",
        "timestamp": "which is converted to the time zone of the session",
        "binary": "which pads texts with bytes",
        "year": "which stores 70 as 1970",
        "set": "which sorts the values that a text lists",
    },
    "sqlite": {
        "integer": "by which SQLite converts texts to numbers where it can",
        "numeric": "by which SQLite converts texts to numbers where it can",
        "real": "by which SQLite converts values to numbers of 15 digits where it can",
        "text": "by which SQLite converts numbers to texts",
    },
}
