"""The names of tables in an SQL statement, found by their position: after FROM, JOIN, INTO and the like."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import sqlparse

from .statement_classifier import LOCKS_ROWS, may_write

# Words that may stand between a word that introduces a table and the table's name; the last line after UPDATE OR.
MODIFIERS = frozenset(
    [
        *("ONLY", "LATERAL", "TABLE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"),
        "CONCURRENTLY",
        *("OR", "ABORT", "FAIL", "REPLACE"),
    ]
)
# Words besides FROM and JOIN after which a statement names tables that it may write.
INTRODUCE_WRITTEN = ("UPDATE", "INTO", "COPY", "TRUNCATE", "USING", "INSERT", "REPLACE", "VIEW")
_NAME = r'(?:\w+|"[^"]+"|`[^`]+`)'
WRITTEN = re.compile(
    rf"\b(?<!KEY\s)(?<!DO\s)(?:UPDATE|INTO)\s+(?:ONLY\s+)?({_NAME}(?:\.{_NAME})*)",
    re.IGNORECASE,
)
# What follows a table-introducing word, or a bracket after it, where a subquery stands instead of a name.
SUBQUERY_STARTS = ("SELECT", "VALUES", "WITH")
STARTS_WITH_CTE = re.compile(r"\s*WITH\b", re.IGNORECASE)
# Words in the position of a table: the ends of COPY, and SET, which follows UPDATE in an upsert.
NOT_TABLES = {"stdin", "stdout", "set"}


@lru_cache(maxsize=1024)
def tables_read(sql: str, known: Collection[str]) -> set[str] | None:
    """Return the tables of `known` that a query may read, or None if it may read others or write."""
    tokens = _tokens(sql)
    names = _names_of_tables(tokens)
    tables = {name.lower() for name in names - _names_before_as(sql, tokens)}
    if not tables <= {table.lower() for table in known} or may_write(sql):
        return None
    # Any other word may be the name of a table as well: one table too many is harmless, one too few is not.
    candidates = {*re.findall(r"\w+", sql.lower()), *(name.lower() for name in names)}
    return {table for table in known if table.lower() in candidates}


@lru_cache(maxsize=1024)
def unknown_write_targets(sql: str, known: Collection[str]) -> set[str]:
    """Return the names, not in `known`, that a statement may write to: views or partitions, for instance."""
    text = LOCKS_ROWS.sub("", sql)
    tokens = _tokens(text)
    # A common table expression cannot be written, but a table of the same name can.
    names = _names_of_tables(tokens, INTRODUCE_WRITTEN) - _names_before_as(text, tokens)
    names |= {found.rpartition(".")[2].strip('"`') for found in WRITTEN.findall(text)}
    known_names = {table.lower() for table in known} | NOT_TABLES
    return {
        name for name in names if name.lower() not in known_names and name.upper() not in MODIFIERS and _is_name(name)
    }


@lru_cache(maxsize=1024)
def names_read(sql: str) -> frozenset[str]:
    """Return the names that stand where a query names what it reads: tables, and what only looks like one."""
    tokens = _tokens(sql)
    return frozenset(filter(_is_name, _names_of_tables(tokens, ("TABLE",)) - _names_before_as(sql, tokens)))


@lru_cache(maxsize=1024)
def cte_names(sql: str) -> frozenset[str]:
    """Return the names of a query's common table expressions."""
    return frozenset(_names_before_as(sql, _tokens(sql)))


def _is_name(text: str) -> bool:
    return bool(text) and not text[0].isdigit() and text[0] not in "%$(?"


def _tokens(sql: str) -> list[Any]:
    """Return the tokens of the first statement, without whitespace and comments."""
    if not sql.strip():
        return []
    return [
        token
        for token in sqlparse.parse(sql)[0].flatten()
        if not token.is_whitespace and token.ttype not in sqlparse.tokens.Comment
    ]


def _names_of_tables(tokens: list[Any], introducing: Collection[str] = ()) -> set[str]:
    """Return the names after FROM, JOIN, TABLE and the words `introducing` one, without schema and quotes."""
    names = set()
    # Whether the next token should name a table, and whether a comma should introduce another one.
    expects_name = is_in_list = False
    previous = ""
    for token, following in zip(tokens, [*tokens[1:], None], strict=False):
        word = token.normalized.upper()
        starts_list = word == "FROM" or (word in introducing and _starts_clause(word, previous))
        if token.is_keyword and (starts_list or word == "TABLE" or word.endswith("JOIN")):
            expects_name, is_in_list = True, starts_list
        elif expects_name and word not in MODIFIERS:
            # In schema.table only the last part counts.
            is_qualifier = token.value == "." or (following is not None and following.value == ".")
            if not is_qualifier:
                # After a bracket a name may still follow, as in FROM (a JOIN b).
                expects_name = word == "("
                if not expects_name and word not in SUBQUERY_STARTS:
                    names.add(_unquoted(token))
        elif is_in_list and word == ",":
            expects_name = True
        elif token.is_keyword and word != "AS":
            is_in_list = False
        previous = word
    return names


def _starts_clause(word: str, previous: str) -> bool:
    """Return whether `word` introduces a table after `previous`, unlike in ON CONFLICT DO UPDATE and FOR KEY UPDATE.

    INSERT and REPLACE do so only at the start of a statement, or after a WITH clause: elsewhere they are functions.
    """
    if word in ("INSERT", "REPLACE"):
        return previous in ("", ")")
    return previous not in ("KEY", "DO")


def _names_before_as(sql: str, tokens: list[Any]) -> set[str]:
    """Return the names before ``AS (``, ``AS MATERIALIZED`` and ``AS NOT MATERIALIZED`` in a query that begins WITH."""
    if not STARTS_WITH_CTE.match(sql):
        return set()
    return {
        _unquoted(name)
        for name, as_, body in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if as_.value.upper() == "AS" and body.value.upper().split()[0] in ("(", "MATERIALIZED", "NOT")
    }


def _unquoted(token: Any) -> str:
    return str(token.value).strip('"`[]')
