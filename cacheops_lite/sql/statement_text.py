"""The text of SQL statements: split a text into statements, find the first word of one."""

from __future__ import annotations

import re

# Skips whitespace, brackets and comments before the word that says what a statement does.
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+)", re.DOTALL)
# Statements of MariaDB that execute other statements, though they begin with SET or BEGIN like harmless ones.
EXECUTES_OTHERS = re.compile(r"\b(?:SET\s+STATEMENT|BEGIN\s+NOT\s+ATOMIC)\b", re.IGNORECASE)


def words(*lines: str) -> frozenset[str]:
    """Return the set of all words in `lines`."""
    return frozenset(word for line in lines for word in line.split())


def split_statements(sql: str) -> list[str]:
    """Split a text at its semicolons.

    A semicolon within a string or comment splits as well, so there may be more parts than statements.
    """
    return [part for part in sql.split(";") if part.strip()] or [sql] if ";" in sql else [sql]


def first_word(sql: str) -> str:
    """Return the first word of a statement in upper case, an empty string if there is none."""
    found = FIRST_WORD.match(sql)
    return found.group(1).upper() if found else ""
