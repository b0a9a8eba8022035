"""A system check of what a database says of its columns, run by ``manage.py migrate`` and ``check --database``."""

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

# What a column does with values otherwise than its field, None if nothing.
Rule = Callable[[Column, Any], "str | None"]
# Digits of a second that Python keeps.
DIGITS = 6
HINT = """Change the column's type to {expected}; or have the field say what the column is, by its db_collation, \
max_length or decimal_places, or as a class of your own whose db_type() names the type, which makes no conditions; \
or add {kind!r} to CACHEOPS_SKIP_FIELDS."""


def install() -> None:
    """Have Django run the check."""
    registry.register(check_columns, Tags.database)


def uninstall() -> None:
    """Have Django forget it."""
    registry.registered_checks.discard(check_columns)


def check_columns(app_configs: Any, databases: Iterable[str] | None, **kwargs: Any) -> list[CheckMessage]:
    """Columns that compare or store values otherwise than their fields say: conditions on them would miss writes."""
    messages: list[CheckMessage] = []
    for using in databases or ():
        try:
            messages += [
                Warning(
                    f"{using}: {field} has the column {table}.{column}, {problem}: cached queries with a condition "
                    f"on {field.name} may miss writes.",
                    hint=HINT.format(
                        expected=field.db_parameters(connections[using])["type"],
                        kind=target_of(field).get_internal_type(),
                    ),
                    obj=field,
                    id="cacheops_lite.W006",
                )
                for table, column, field, problem in _that_differ(using)
            ]
        except Exception as error:
            # As where the catalog may not be read: it is no reason to keep anybody from migrating.
            error_boundary.log_failure(f"The columns of the database {using!r} can't be checked", error)
    return messages


def _that_differ(using: str) -> Iterator[tuple[str, str, Any, str]]:
    """The table, column, field and problem of each column that does."""
    connection: Any = connections[using]
    if connection.vendor not in RULES:
        return
    fields = {
        (model._meta.db_table, str(field.column)): field
        for model in all_tracked_models()
        # What a view shows falls with any write of what it reads.
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
    """What `column` does with values otherwise than `field`, as a clause; None if nothing."""
    target = target_of(field)
    if (rule := RULES[vendor][_group_of(target)].get(column.kind)) is None:
        problem: str | None = MEANINGS[vendor].get(column.kind, "which is not what the field stores")
    else:
        problem = rule(column, target)
    if problem is not None:
        return f"whose type is {column.declared}, {problem}"
    is_too_loose = _group_of(target) == "text" and not _tells_apart(column, comparison_tokenizer(field, vendor), vendor)
    return f"whose collation {column.collation} finds texts equal that the field tells apart" if is_too_loose else None


def _group_of(target: Any) -> str:
    kind = target.get_internal_type()
    if kind in INTEGER_TYPES:
        return "integer"
    if kind in TEXT_TYPES:
        return "text"
    return "decimal" if isinstance(target, DecimalField) else str(kind)


def _tells_apart(column: Column, tokenize: tokens.Tokenizer | None, vendor: str) -> bool:
    """Texts that the column finds equal have the same token."""
    if column.compares_bytes:
        return True
    if vendor == "sqlite":
        return {"NOCASE": tokens.nocase, "RTRIM": tokens.padded}.get(str(column.collation)) is tokenize
    # Those of MariaDB and MySQL are coarse enough for any collation, unless the field's is binary.
    return vendor == "mysql" and (tokenize is tokens.folded or column.collation is None)


def _fine(column: Column, field: Any) -> str | None:
    return None


def _keeps_digits(column: Column, field: Any) -> str | None:
    few = column.size is not None and column.size < DIGITS
    return f"which keeps {column.size} digits of a second" if few else None


def _keeps_spaces(column: Column, field: Any) -> str | None:
    longest = field.max_length
    is_short = column.size is not None and (longest is None or column.size < longest)
    return f"which cuts off spaces after {column.size} characters" if is_short else None


def _keeps_integers(column: Column, field: Any) -> str | None:
    return f"which rounds to {column.scale} places" if (column.scale or 0) < 0 else None


def _keeps_places(column: Column, field: Any) -> str | None:
    places = field.decimal_places
    if column.scale is None:
        return None if places is None else "which shows equal numbers in several ways, as 1.0 and 1.00"
    return f"which rounds to {column.scale} places" if places is None or column.scale < places else None


def _keeps_integers_of_decimals(column: Column, field: Any) -> str | None:
    return None if field.decimal_places == 0 else "which rounds to 0 places"


def _rounds_nothing(column: Column, field: Any) -> str | None:
    return None if column.scale is None else f"which rounds to {column.scale} places"


def _rules(**rules: str) -> dict[str, Rule]:
    """The rule of each kind, from the kinds of each rule."""
    return {kind: globals()[f"_{rule}"] for rule, kinds in rules.items() for kind in kinds.split()}


MYSQL_INTEGERS = "tinyint smallint mediumint int bigint"
MYSQL_TEXTS = "char varchar tinytext text mediumtext longtext"
ANY_AFFINITY = _rules(fine="text blob integer numeric real")
# By kind of database and of field the kinds of columns that compare as the field says, and what has to be true of them.
RULES: dict[str, dict[str, dict[str, Rule]]] = {
    "postgresql": {
        "integer": _rules(fine="int2 int4 int8 oid", keeps_integers="numeric"),
        "text": _rules(fine="text enum", keeps_spaces="varchar"),
        "decimal": _rules(keeps_places="numeric", keeps_integers_of_decimals="int2 int4 int8"),
        "BooleanField": _rules(fine="bool"),
        "UUIDField": _rules(fine="uuid"),
        "FloatField": _rules(fine="float8"),
        "DateField": _rules(fine="date"),
        "DateTimeField": _rules(keeps_digits="timestamptz"),
        "TimeField": _rules(keeps_digits="time"),
        "DurationField": _rules(keeps_digits="interval"),
    },
    "mysql": {
        "integer": _rules(fine=MYSQL_INTEGERS, keeps_integers="decimal"),
        "text": _rules(fine=f"{MYSQL_TEXTS} enum"),
        "decimal": _rules(keeps_places="decimal", keeps_integers_of_decimals=MYSQL_INTEGERS),
        "BooleanField": _rules(fine=MYSQL_INTEGERS),
        # Before MariaDB 10.7 there was no type of their own.
        "UUIDField": _rules(fine="uuid char varchar"),
        "FloatField": _rules(rounds_nothing="double"),
        "DateField": _rules(fine="date"),
        "DateTimeField": _rules(keeps_digits="datetime"),
        "TimeField": _rules(keeps_digits="time"),
        "DurationField": _rules(fine="int bigint"),
    },
    # Of affinities: where numbers are wanted, and texts, what turns these into those changes them.
    "sqlite": {
        "integer": _rules(fine="integer numeric blob text"),
        "text": _rules(fine="text blob"),
        "decimal": _rules(fine="integer numeric real"),
        "BooleanField": _rules(fine="integer numeric real blob"),
        "UUIDField": _rules(fine="text blob"),
        "FloatField": _rules(fine="integer numeric real blob"),
        "DateField": ANY_AFFINITY,
        "DateTimeField": ANY_AFFINITY,
        "TimeField": ANY_AFFINITY,
        "DurationField": _rules(fine="integer numeric blob"),
    },
}
# What other kinds of columns do.
MEANINGS = {
    "postgresql": {
        "bpchar": "which pads texts with spaces, and finds those equal that differ only in them",
        "citext": "which finds texts equal that differ in case",
        "name": "which cuts texts off after 63 bytes",
        "float4": "which keeps 6 digits",
        "float8": "which keeps 15 digits, and no integers",
        "numeric": "which keeps more digits, or fewer",
        "money": "which rounds to cents",
        "timestamp": "which knows no time zone",
        "date": "which keeps no time",
    },
    "mysql": {
        "float": "which keeps 6 digits",
        "double": "which keeps 15 digits, and no integers",
        "bit": "which shows bytes",
        "timestamp": "which is shown by the session's time zone",
        "binary": "which pads texts with bytes",
        "year": "which takes 70 for 1970",
        "set": "which orders what a text lists",
    },
    "sqlite": {
        "integer": "by which SQLite turns texts into numbers where it can",
        "numeric": "by which SQLite turns texts into numbers where it can",
        "real": "by which SQLite turns what it can into numbers of 15 digits",
        "text": "by which SQLite turns numbers into texts",
    },
}
