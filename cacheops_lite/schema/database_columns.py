"""Read from a database's catalog the types, sizes and collations of columns."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from .database_catalog import normalized_name

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
QUOTED_OR_DELIMITER = re.compile(r'"(?:[^"]|"")*"|`[^`]*`|\[[^]]*\]|[(),]')
# A column's definition, from its name to its collation.
COLLATED = re.compile(
    r"""\s*("(?:[^"]|"")+"|`[^`]+`|\[[^]]+\]|\w+).*?\bCOLLATE\s+["`\[]?(\w+)""", re.IGNORECASE | re.DOTALL
)
# In a typmod of PostgreSQL: bytes of the header that a size includes; an interval of unlimited precision.
HEADER, UNLIMITED = 4, 0xFFFF


class Column(NamedTuple):
    """A column of a database.

    `kind` is the name of its type: the base type of a domain, the affinity on SQLite.  `declared` is the type as it is
    written.  `size` is a number of characters, or of digits of fractional seconds; `scale` one of decimal places.
    None means that there is no limit, or that the type has none.  `compares_bytes` says whether the collation
    distinguishes all texts that differ.
    """

    kind: str
    declared: str
    size: int | None = None
    scale: int | None = None
    collation: str | None = None
    compares_bytes: bool = True


Columns = dict[tuple[str, str], Column]


def columns_of(connection: Any, tables: Collection[str]) -> Columns:
    """Return the columns of those `tables` that are no views, by the normalized names of table and column."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return _on_postgresql(cursor)
        if connection.vendor == "mysql":
            return _on_mysql(cursor)
        return _on_sqlite(cursor, set(map(normalized_name, tables)))


def _on_postgresql(cursor: Any) -> Columns:
    cursor.execute(DOMAINS)
    domains = {oid: base for oid, *base in cursor.fetchall()}
    cursor.execute(POSTGRESQL)
    found: Columns = {}
    for row in cursor.fetchall():
        schema, table, is_visible, name, oid, kind, category, typmod, declared, collation, is_deterministic = row
        while oid in domains:
            oid, kind, category, domain_typmod = domains[oid]
            typmod = domain_typmod if typmod == -1 else typmod
        size, scale = _limits(kind, typmod)
        kind = "enum" if category == "e" else kind
        column = Column(kind, declared, size, scale, collation, compares_bytes=is_deterministic is not False)
        found[normalized_name(f"{schema}.{table}"), normalized_name(name)] = column
        if is_visible:
            found[normalized_name(table), normalized_name(name)] = column
    return found


def _limits(kind: str, typmod: int) -> tuple[int | None, int | None]:
    """Return size and scale, which a typmod of PostgreSQL encodes; a ``numeric`` may have a negative scale."""
    if typmod == -1:
        return None, None
    if kind == "numeric":
        return None, ((typmod - HEADER & 0x7FF) ^ 0x400) - 0x400
    if kind in ("varchar", "bpchar"):
        return typmod - HEADER, None
    if kind == "interval":
        # The upper 16 bits say which fields the interval stores, the lower ones its precision.
        has_all_fields, precision = typmod >> 16 == 0x7FFF, typmod & UNLIMITED
        if not has_all_fields:
            return 0, None
        return None if precision == UNLIMITED else precision, None
    return typmod, None


def _on_mysql(cursor: Any) -> Columns:
    cursor.execute(MYSQL)
    found = {}
    for table, name, kind, declared, scale, digits, collation in cursor.fetchall():
        column = Column(kind.lower(), _text(declared), digits, scale, collation, str(collation).endswith("_bin"))
        found[normalized_name(table), normalized_name(name)] = column
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _on_sqlite(cursor: Any, tables: Collection[str]) -> Columns:
    cursor.execute(SQLITE)
    found = {}
    collations: dict[str, dict[str, str]] = {}
    for table, definition, name, declared in cursor.fetchall():
        if normalized_name(table) in tables:
            if table not in collations:
                collations[table] = collations_in(definition)
            collation = collations[table].get(normalized_name(name), "BINARY")
            column = Column(affinity(declared), declared, None, None, collation, collation == "BINARY")
            found[normalized_name(table), normalized_name(name)] = column
    return found


def collations_in(definition: str) -> dict[str, str]:
    """Return the collations that a CREATE TABLE of SQLite names, by column; no pragma returns them."""
    found, depth, start = {}, 0, 0
    text = COMMENT_OR_TEXT.sub(" ", definition)
    for each in QUOTED_OR_DELIMITER.finditer(text):
        depth += {"(": 1, ")": -1}.get(each[0], 0)
        if each[0] == "(" and depth == 1:
            start = each.end()
        elif (each[0] == "," and depth == 1) or (each[0] == ")" and depth == 0):
            column = COLLATED.match(text, start, each.start())
            if column is not None:
                found[normalized_name(column[1].strip("[]"))] = column[2].upper()
            start = each.end()
    return found


def affinity(declared: str) -> str:
    """Return the affinity of a type declared on SQLite (https://www.sqlite.org/datatype3.html, section 3.1)."""
    upper = declared.upper()
    for found, parts in (("integer", ["INT"]), ("text", ["CHAR", "CLOB", "TEXT"]), ("blob", ["BLOB"])):
        if any(part in upper for part in parts):
            return found
    if not upper:
        return "blob"
    return "real" if any(part in upper for part in ("REAL", "FLOA", "DOUB")) else "numeric"
