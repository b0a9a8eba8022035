"""What a database's catalog says of the columns of tables: their types, sizes and collations."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from .database_catalog import plain_name

POSTGRESQL = """SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), a.attname,
        t.oid, t.typname, t.typtype, a.atttypmod, format_type(a.atttypid, a.atttypmod),
        l.collname, l.collisdeterministic
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND a.attnum > 0 AND NOT a.attisdropped"""
DOMAINS = """SELECT d.oid, b.oid, b.typname, b.typtype, d.typtypmod
    FROM pg_type d JOIN pg_type b ON b.oid = d.typbasetype WHERE d.typtype = 'd'"""
MYSQL = """SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
    AND TABLE_NAME NOT IN (SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE())"""
SQLITE = """SELECT m.name, m.sql, c.name, c.type FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
    WHERE m.type = 'table' AND m.sql NOT LIKE 'create virtual%'"""
COMMENT_OR_TEXT = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
QUOTED_OR_BOUND = re.compile(r'"(?:[^"]|"")*"|`[^`]*`|\[[^]]*\]|[(),]')
# A column's definition, from its name to its collation.
COLLATED = re.compile(
    r"""\s*("(?:[^"]|"")+"|`[^`]+`|\[[^]]+\]|\w+).*?\bCOLLATE\s+["`\[]?(\w+)""", re.IGNORECASE | re.DOTALL
)
# What a typmod of PostgreSQL counts in.
HEADER, UNLIMITED = 4, 0xFFFF


class Column(NamedTuple):
    """A column as the database has it.

    `kind` is its type, that of its domain if it has one, on SQLite its affinity; `declared` the type as it is written.
    `size` counts characters, or digits of a second; `scale` decimal places.  None stands for no limit, or no such.
    """

    kind: str
    declared: str
    size: int | None = None
    scale: int | None = None
    collation: str | None = None
    tells_bytes_apart: bool = True


Columns = dict[tuple[str, str], Column]


def columns_of(connection: Any, tables: Collection[str]) -> Columns:
    """The columns of those of `tables` that are no views, by the plain names of table and column."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return _on_postgresql(cursor)
        if connection.vendor == "mysql":
            return _on_mysql(cursor)
        return _on_sqlite(cursor, set(map(plain_name, tables)))


def _on_postgresql(cursor: Any) -> Columns:
    cursor.execute(DOMAINS)
    domains = {oid: base for oid, *base in cursor.fetchall()}
    cursor.execute(POSTGRESQL)
    found: Columns = {}
    for schema, table, is_visible, name, oid, kind, sort, modifier, declared, collation, tells in cursor.fetchall():
        while oid in domains:
            oid, kind, sort, own = domains[oid]
            modifier = own if modifier == -1 else modifier
        size, scale = _limits(kind, modifier)
        column = Column("enum" if sort == "e" else kind, declared, size, scale, collation, tells is not False)
        found[plain_name(f"{schema}.{table}"), plain_name(name)] = column
        if is_visible:
            found[plain_name(table), plain_name(name)] = column
    return found


def _limits(kind: str, modifier: int) -> tuple[int | None, int | None]:
    """Size and scale as a typmod of PostgreSQL says; its ``numeric`` may have a negative scale."""
    if modifier == -1:
        return None, None
    if kind == "numeric":
        return None, ((modifier - HEADER & 0x7FF) ^ 0x400) - 0x400
    if kind in ("varchar", "bpchar"):
        return modifier - HEADER, None
    if kind == "interval":
        # Its upper half says which fields it keeps.
        is_whole = modifier >> 16 == 0x7FFF
        return (None if modifier & UNLIMITED == UNLIMITED else modifier & UNLIMITED) if is_whole else 0, None
    return modifier, None


def _on_mysql(cursor: Any) -> Columns:
    cursor.execute(MYSQL)
    found = {}
    for table, name, kind, declared, scale, digits, collation in cursor.fetchall():
        column = Column(kind.lower(), _text(declared), digits, scale, collation, str(collation).endswith("_bin"))
        found[plain_name(table), plain_name(name)] = column
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _on_sqlite(cursor: Any, tables: Collection[str]) -> Columns:
    cursor.execute(SQLITE)
    found = {}
    collations: dict[str, dict[str, str]] = {}
    for table, definition, name, declared in cursor.fetchall():
        if plain_name(table) in tables:
            if table not in collations:
                collations[table] = collations_in(definition)
            collation = collations[table].get(plain_name(name), "BINARY")
            column = Column(affinity(declared), declared, None, None, collation, collation == "BINARY")
            found[plain_name(table), plain_name(name)] = column
    return found


def collations_in(definition: str) -> dict[str, str]:
    """The collations that a CREATE TABLE of SQLite's names, by column; no pragma tells them."""
    found, depth, start = {}, 0, 0
    text = COMMENT_OR_TEXT.sub(" ", definition)
    for each in QUOTED_OR_BOUND.finditer(text):
        depth += {"(": 1, ")": -1}.get(each[0], 0)
        if each[0] == "(" and depth == 1:
            start = each.end()
        elif (each[0] == "," and depth == 1) or (each[0] == ")" and depth == 0):
            column = COLLATED.match(text, start, each.start())
            if column is not None:
                found[plain_name(column[1].strip("[]"))] = column[2].upper()
            start = each.end()
    return found


def affinity(declared: str) -> str:
    """What SQLite makes of a declared type (https://www.sqlite.org/datatype3.html, 3.1)."""
    upper = declared.upper()
    for found, parts in (("integer", ["INT"]), ("text", ["CHAR", "CLOB", "TEXT"]), ("blob", ["BLOB"])):
        if any(part in upper for part in parts):
            return found
    if not upper:
        return "blob"
    return "real" if any(part in upper for part in ("REAL", "FLOA", "DOUB")) else "numeric"
