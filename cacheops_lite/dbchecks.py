"""A system check of what a database says of its columns, run by ``manage.py migrate`` and ``check --database``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning
from django.core.checks.registry import registry
from django.db import connections, router

from . import values
from .columns import compares_by
from .scope import watched_models

# Columns of a type, or with a collation, to which different texts may be equal.
POSTGRESQL = """SELECT c.relname, a.attname
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type base ON base.oid = t.typbasetype LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
    AND ('citext' IN (t.typname, base.typname) OR NOT l.collisdeterministic)"""


def install() -> None:
    """Have Django run the check."""
    registry.register(check_columns, Tags.database)


def uninstall() -> None:
    """Have Django forget it."""
    registry.registered_checks.discard(check_columns)


def check_columns(app_configs: Any, databases: Iterable[str] | None, **kwargs: Any) -> list[CheckMessage]:
    """Columns of text that compare otherwise than their fields say: conditions on them would miss writes."""
    return [
        Warning(
            f"{using}: the column {table}.{column} finds texts equal that {field} tells apart: cached queries that ask "
            f"for one may miss what is written as the other.",
            hint="Give the field the column's db_collation, or a class whose db_type() names the column's type.",
            obj=field,
            id="cacheops_lite.W006",
        )
        for using in databases or ()
        for table, column, field in _that_differ(using)
    ]


def _that_differ(using: str) -> Iterator[tuple[str, str, Any]]:
    connection: Any = connections[using]
    if connection.vendor not in ("postgresql", "sqlite"):
        # Ours is as coarse as any collation of MariaDB and MySQL.
        return
    fields = {
        (model._meta.db_table, str(field.column)): field
        for model in watched_models()
        if router.allow_migrate_model(using, model)
        for field in model._meta.local_concrete_fields
        if compares_by(field, connection.vendor) is values.text
    }
    with connection.cursor() as cursor:
        odd = _on_postgresql(cursor) if connection.vendor == "postgresql" else _on_sqlite(connection, cursor)
    for place in sorted(odd & set(fields)):
        yield (*place, fields[place])


def _on_postgresql(cursor: Any) -> set[tuple[str, str]]:
    cursor.execute(POSTGRESQL)
    return set(cursor.fetchall())


def _on_sqlite(connection: Any, cursor: Any) -> set[tuple[str, str]]:
    return {
        (table.name, column.name)
        for table in connection.introspection.get_table_list(cursor)
        if table.type == "t"
        for column in connection.introspection.get_table_description(cursor, table.name)
        if (column.collation or "BINARY").upper() != "BINARY"
    }
