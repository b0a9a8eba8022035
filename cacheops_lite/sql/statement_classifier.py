"""Classify SQL statements: whether one writes, and which table, as far as its text shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .statement_text import EXECUTES_OTHERS, first_word, split_statements, words
from .transaction_control import is_transaction_control, may_commit, may_pin_snapshot

READING = words(
    "SELECT WITH VALUES TABLE SHOW EXPLAIN DESCRIBE DESC PRAGMA SET RESET USE FETCH DECLARE CLOSE MOVE",
    "SAVEPOINT RELEASE ROLLBACK BEGIN START COMMIT END ABORT ANALYZE CHECKPOINT LISTEN UNLISTEN NOTIFY",
    "DISCARD DEALLOCATE PREPARE LOCK UNLOCK ATTACH DETACH",
)
# Words by which a statement may write that begins like a query.  REPLACE is a function as well.
WRITES_WITHIN = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|EXECUTE|REPLACE(?!\s*\())\b", re.IGNORECASE)
# First words of statements that change rows, if they change anything.
ROW_WRITING = frozenset({"WITH", "INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE"})
EXPLAINS_EXECUTE = re.compile(r"\s*EXPLAIN\b.*\bEXECUTE\b", re.IGNORECASE | re.DOTALL)
# Statements that execute code which their text does not show.
EXECUTES_CODE = frozenset({"CALL", "DO", "EXECUTE", "EXEC"})
CASCADE = re.compile(r"\bCASCADE\b", re.IGNORECASE)
TEMPORARY = re.compile(r"\s*CREATE\s+TEMP(?:ORARY)?\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w\"`]+)", re.IGNORECASE)
WRITES_ROWS = re.compile(
    r"^[\s(]*(?:WITH\b.*\b)?(?:INSERT|REPLACE|UPDATE|DELETE|MERGE|TRUNCATE|COPY|LOAD|REFRESH)\b",
    re.IGNORECASE | re.DOTALL,
)
DEFINES_VIEW = re.compile(r"\b(?:VIEW|VIRTUAL|INHERITS?|PARTITION|RENAME|CONFLICT)\b", re.IGNORECASE)
OR_FAIL = re.compile(r"\bOR\s+FAIL\b", re.IGNORECASE)
RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)
# FOR UPDATE, which only locks.
LOCKS_ROWS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE)
# Quoted text of any kind.  Where a comment or an escape may contain quotes, only what is certainly a name is skipped.
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`""")
QUOTED_NAME = re.compile(r'"\w+"|`\w+`')
MAY_HIDE_QUOTES = re.compile(r"--|/\*|\\|\$\w*\$|#")
# A write of one table, as Django composes it and as it is usually written by hand.
PLAIN_WRITE = re.compile(
    r"""\s*(?:(?P<insert>(?:INSERT|REPLACE)\s+(?:IGNORE\s+|OR\s+\w+\s+)?INTO)
            |(?P<update>UPDATE)|(?P<delete>DELETE\s+FROM))
        \s+(?:"(?P<quoted>(?:[^"]|"")+)"|`(?P<ticked>(?:[^`]|``)+)`|(?P<bare>\w+))
        \s*(?:(?P<after>\(|\b(?:SET|WHERE|VALUES|DEFAULT|SELECT)\b)|$)""",
    re.IGNORECASE | re.VERBOSE,
)
UPSERT = re.compile(r"\bON\s+(?:DUPLICATE\s+KEY|CONFLICT\b.*\bDO)\s+UPDATE\b", re.IGNORECASE | re.DOTALL)
# By verb: what may follow the name of the only table that a statement writes.
MAY_FOLLOW = {"insert": {"(", "VALUES", "DEFAULT", "SELECT", "SET"}, "update": {"SET"}, "delete": {"WHERE", ""}}


class Write(NamedTuple):
    """A statement that may write: its verb and its table, or ``('', None)`` if these are not known.

    The verbs are ``'insert'``, ``'update'``, ``'delete'``, ``'replace'`` for an INSERT that deletes rows that conflict
    with the new ones, and ``'upsert'`` for one that updates them.
    """

    verb: str
    table: str | None


@lru_cache(maxsize=1024)
def only_reads(sql: str, vendor: str) -> bool:
    """Return whether the statement certainly only reads, and changes neither its transaction nor what that sees."""
    return not (parse_write(sql) or may_pin_snapshot(sql) or may_commit(sql, vendor) or is_transaction_control(sql))


@lru_cache(maxsize=1024)
def parse_write(sql: str) -> Write | None:
    """Return the write that a statement is, or None if it certainly only reads."""
    if not may_write(sql):
        return None
    found = PLAIN_WRITE.match(sql)
    if found is None or ";" in sql.rstrip().rstrip(";"):
        return Write("", None)
    verb = next(verb for verb in MAY_FOLLOW if found[verb])
    if (found["after"] or "").upper() not in MAY_FOLLOW[verb]:
        return Write("", None)
    return Write(_verb_of_insert(found, sql) if verb == "insert" else verb, _unquoted_table(found))


def _verb_of_insert(found: re.Match[str], sql: str) -> str:
    if "REPLACE" in found["insert"].upper():
        return "replace"
    # The expression takes milliseconds where many rows are inserted.
    return "upsert" if "UPDATE" in sql.upper() and UPSERT.search(sql) else "insert"


def _unquoted_table(found: re.Match[str]) -> str:
    if found["quoted"]:
        return found["quoted"].replace('""', '"')
    return found["ticked"].replace("``", "`") if found["ticked"] else found["bare"]


def may_write(sql: str) -> bool:
    """Return False if the statement certainly only reads."""
    return any(map(_statement_may_write, split_statements(sql)))


def _statement_may_write(statement: str) -> bool:
    if first_word(statement) not in READING or EXECUTES_OTHERS.search(statement):
        return True
    # SELECT ... INTO, WITH ... DELETE, EXPLAIN ANALYZE UPDATE, ANALYZE UPDATE.
    text = LOCKS_ROWS.sub("", statement)
    return bool(WRITES_WITHIN.search((QUOTED_NAME if MAY_HIDE_QUOTES.search(text) else QUOTED).sub("''", text)))


def may_write_any_table(sql: str) -> bool:
    """Return whether a single statement may write tables that it does not name.

    It may execute code that its text does not show, or cascade to tables that refer to the one it names.
    """
    word = first_word(sql)
    if word in ("TRUNCATE", "DROP"):
        return CASCADE.search(sql) is not None
    return word in EXECUTES_CODE or EXECUTES_OTHERS.search(sql) is not None or EXPLAINS_EXECUTE.match(sql) is not None


def tables_mentioned(sql: str, tables: Iterable[str]) -> set[str]:
    """Return those of `tables` whose names occur anywhere in a statement, in upper or lower case."""
    text = sql.lower()
    return {table for table in tables if table.lower() in text}


@lru_cache(maxsize=1024)
def created_temporary_table(sql: str) -> str | None:
    """Return the name, in lower case, of the temporary table that a statement creates, else None."""
    found = TEMPORARY.match(sql)
    return None if found is None else found[1].strip('"`').lower()


def may_define_view(sql: str) -> bool:
    """Return whether the statement may define a table or view that shows rows of other tables, or replaces rows."""
    return any(DEFINES_VIEW.search(part) and not writes_rows(part) for part in split_statements(sql))


def writes_rows(sql: str) -> bool:
    """Return whether a single statement changes rows, not the schema."""
    return WRITES_ROWS.search(sql) is not None


def is_single_row_write(sql: str) -> bool:
    """Return whether this is one statement that can change only rows, so that any transaction may contain it."""
    return len(split_statements(sql)) == 1 and first_word(sql) in ROW_WRITING


@lru_cache(maxsize=1024)
def is_complete_once_executed(sql: str, vendor: str) -> bool:
    """Return whether a write can be committed before its rows are fetched, as on PostgreSQL or without RETURNING."""
    return vendor == "postgresql" or RETURNING.search(sql) is None


@lru_cache(maxsize=1024)
def keeps_partial_writes(sql: str) -> bool:
    """Return whether a write that fails keeps the rows written before the failure: SQLite's OR FAIL."""
    return OR_FAIL.search(sql) is not None
