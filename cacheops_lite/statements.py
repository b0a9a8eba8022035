"""What an SQL statement does and to which table, as far as its text tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

# After comments and brackets: the word that says what a statement does.
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+)", re.DOTALL)
READING = frozenset(
    word
    for line in (
        "SELECT VALUES TABLE SHOW EXPLAIN DESCRIBE DESC PRAGMA SET RESET USE FETCH DECLARE CLOSE MOVE",
        "SAVEPOINT RELEASE ROLLBACK BEGIN START COMMIT END ABORT ANALYZE CHECKPOINT LISTEN UNLISTEN NOTIFY",
        "DISCARD DEALLOCATE PREPARE LOCK UNLOCK ATTACH DETACH",
    )
    for word in line.split()
)
WRITES_WITHIN = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|INTO)\b", re.IGNORECASE)
# Quoted names; and FOR UPDATE, which only locks.
HARMLESS = re.compile(r'"[^"]*"|`[^`]*`|\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b', re.IGNORECASE)
SNAPSHOT = re.compile(
    r"\bISOLATION\s+LEVEL\b(?!\s+READ\s+(?:UN)?COMMITTED\b)|\b(?:SNAPSHOT|TRANSACTION_ISOLATION)\b", re.IGNORECASE
)
# A write of one table, as Django composes it and most people write it.
PLAIN_WRITE = re.compile(
    r"""\s*(?:(?P<insert>(?:INSERT|REPLACE)\s+(?:IGNORE\s+|OR\s+\w+\s+)?INTO)
            |(?P<update>UPDATE)|(?P<delete>DELETE\s+FROM))
        \s+(?:"(?P<quoted>(?:[^"]|"")+)"|`(?P<ticked>(?:[^`]|``)+)`|(?P<bare>\w+))
        \s*(?:(?P<after>\(|\b(?:SET|WHERE|VALUES|DEFAULT|SELECT)\b)|$)""",
    re.IGNORECASE | re.VERBOSE,
)
FITTING = {"insert": {"(", "VALUES", "DEFAULT", "SELECT", "SET"}, "update": {"SET"}, "delete": {"WHERE", ""}}


class Write(NamedTuple):
    """A statement that may write: ``'insert'``, ``'update'`` or ``'delete'`` of `table`, or unknown (``'', None``)."""

    verb: str
    table: str | None


@lru_cache(maxsize=1024)
def parse(sql: str) -> Write | None:
    """The write that a statement is, None if it is known to only read."""
    if not may_write(sql):
        return None
    found = PLAIN_WRITE.match(sql)
    if found is None or ";" in sql.rstrip().rstrip(";"):
        return Write("", None)
    verb = next(verb for verb in FITTING if found[verb])
    if (found["after"] or "").upper() not in FITTING[verb]:
        return Write("", None)
    return Write(verb, _unquoted(found))


def _unquoted(found: re.Match[str]) -> str:
    if found["quoted"]:
        return found["quoted"].replace('""', '"')
    return found["ticked"].replace("``", "`") if found["ticked"] else found["bare"]


def mentioned(sql: str, tables: Iterable[str]) -> set[str]:
    """Those of `tables` whose names stand anywhere in a statement."""
    text = sql.lower()
    return {table for table in tables if table.lower() in text}


def may_write(sql: str) -> bool:
    """The statement is not known to only read."""
    found = FIRST_WORD.match(sql)
    word = found.group(1).upper() if found else ""
    if word in ("SELECT", "WITH", "EXPLAIN"):
        # SELECT ... INTO, WITH ... DELETE, EXPLAIN ANALYZE UPDATE.
        return bool(WRITES_WITHIN.search(HARMLESS.sub("", sql)))
    return word not in READING


@lru_cache(maxsize=1024)
def asks_for_snapshot(sql: str) -> bool:
    """The statement chooses what its transaction sees: an isolation level, a snapshot."""
    found = FIRST_WORD.match(sql)
    return (
        found is not None and found.group(1).upper() in ("SET", "BEGIN", "START") and SNAPSHOT.search(sql) is not None
    )
