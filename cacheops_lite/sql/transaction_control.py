"""Statements that begin or end transactions, roll back or choose a snapshot, as far as their text shows."""

from __future__ import annotations

import re
from functools import lru_cache

from .statement_text import EXECUTES_OTHERS, first_word, split_statements, words

COMMITTING = frozenset({"COMMIT", "END"})
ENDING = COMMITTING | {"ROLLBACK", "ABORT"}
# After these a transaction goes on: ROLLBACK TO a savepoint, AND CHAIN, COMMIT PREPARED.
TRANSACTION_GOES_ON = re.compile(r"\b(?:TO|(?<!NO\s)CHAIN|PREPARED)\b", re.IGNORECASE)
BEGINNING = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:BEGIN|START\s+TRANSACTION|XA\s+(?:START|BEGIN))\b", re.IGNORECASE | re.DOTALL
)
# On SQLite a savepoint begins a transaction, if none is open.
CONTROLLING = ENDING | {"BEGIN", "START", "XA", "SAVEPOINT", "RELEASE"}
# MariaDB and MySQL commit before they execute most other statements, such as those that define a table.
NOT_COMMITTING = words(
    "SELECT WITH VALUES TABLE SHOW EXPLAIN DESCRIBE DESC SET USE INSERT REPLACE UPDATE DELETE",
    "SAVEPOINT RELEASE ROLLBACK DEALLOCATE PREPARE",
)
SNAPSHOT = re.compile(
    r"\bISOLATION\s+LEVEL\b(?!\s+READ\s+(?:UN)?COMMITTED\b)|(?:\bSNAPSHOT|TRANSACTION_ISOLATION|\bTX_ISOLATION)\b",
    re.IGNORECASE,
)
# A parameter may name the setting.
SETS_A_PARAMETER = re.compile(r"\bset_config\s*\(\s*[%$]", re.IGNORECASE)
TRANSACTION_LOCAL = re.compile(r"\s*SET\s+(?:TRANSACTION|LOCAL)\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def may_commit(sql: str, vendor: str) -> bool:
    """Return whether the statement may commit the open transaction, as one that defines a table does on MariaDB."""
    first_words = {first_word(part) for part in split_statements(sql)}
    if vendor in ("sqlite", "postgresql"):
        return not first_words.isdisjoint(COMMITTING)
    return not first_words <= NOT_COMMITTING or EXECUTES_OTHERS.search(sql) is not None


@lru_cache(maxsize=1024)
def is_transaction_control(sql: str) -> bool:
    """Return whether the statement may begin or end a transaction."""
    return any(first_word(part) in CONTROLLING for part in split_statements(sql))


@lru_cache(maxsize=1024)
def may_roll_back(sql: str) -> bool:
    """Return whether the statement may undo earlier statements: a transaction, or those since a savepoint."""
    return any(first_word(part) == "ROLLBACK" for part in split_statements(sql))


@lru_cache(maxsize=1024)
def transaction_open_after(sql: str) -> bool | None:
    """Return True if the statement leaves a transaction open that it began, False if it ended one, else None."""
    is_open = None
    for part in split_statements(sql):
        if BEGINNING.match(part) and not EXECUTES_OTHERS.search(part):
            is_open = True
        elif _ends_transaction(part):
            is_open = False
    return is_open


def _ends_transaction(statement: str) -> bool:
    is_xa = statement.upper().split()[:2] in (["XA", "COMMIT"], ["XA", "ROLLBACK"])
    return (is_xa or first_word(statement) in ENDING) and not TRANSACTION_GOES_ON.search(statement)


@lru_cache(maxsize=1024)
def may_pin_snapshot(sql: str) -> bool:
    """Return whether the statement may choose what its transaction sees: an isolation level or a snapshot."""
    return any(map(_statement_may_pin_snapshot, split_statements(sql)))


def _statement_may_pin_snapshot(statement: str) -> bool:
    word = first_word(statement)
    is_setting = word in ("SET", "BEGIN", "START") or (word in ("SELECT", "WITH") and "set_config" in statement.lower())
    return is_setting and bool(SNAPSHOT.search(statement) or SETS_A_PARAMETER.search(statement))


def is_transaction_local(sql: str) -> bool:
    """Return whether it is a single SET whose effect ends with the open transaction, on PostgreSQL."""
    return TRANSACTION_LOCAL.match(sql) is not None and len(split_statements(sql)) == 1
