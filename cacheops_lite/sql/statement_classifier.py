"""What an SQL statement does and to which table, as far as its text tells."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import sqlparse

# After comments and brackets: the word that says what a statement does.
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+)", re.DOTALL)
READING = frozenset(
    word
    for line in (
        "SELECT WITH VALUES TABLE SHOW EXPLAIN DESCRIBE DESC PRAGMA SET RESET USE FETCH DECLARE CLOSE MOVE",
        "SAVEPOINT RELEASE ROLLBACK BEGIN START COMMIT END ABORT ANALYZE CHECKPOINT LISTEN UNLISTEN NOTIFY",
        "DISCARD DEALLOCATE PREPARE LOCK UNLOCK ATTACH DETACH",
    )
    for word in line.split()
)
# REPLACE is a function as well.
WRITES_WITHIN = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|EXECUTE|REPLACE(?!\s*\())\b", re.IGNORECASE)
EXECUTES = re.compile(r"\s*EXPLAIN\b.*\bEXECUTE\b", re.IGNORECASE | re.DOTALL)
# What runs other code, and what writes rows.
BLIND = frozenset({"CALL", "DO", "EXECUTE", "EXEC"})
# MariaDB's, which begin like harmless ones.
RUNS_OTHERS = re.compile(r"\b(?:SET\s+STATEMENT|BEGIN\s+NOT\s+ATOMIC)\b", re.IGNORECASE)
# What commits by its very meaning, and what does not on databases that commit before they change a table's definition.
COMMITTING = frozenset({"COMMIT", "END"})
ENDING = COMMITTING | {"ROLLBACK", "ABORT"}
# Back to a savepoint, on to the next transaction, about one that was prepared.
GOES_ON = re.compile(r"\b(?:TO|(?<!NO\s)CHAIN|PREPARED)\b", re.IGNORECASE)
BEGINNING = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:BEGIN|START\s+TRANSACTION|XA\s+(?:START|BEGIN))\b", re.IGNORECASE | re.DOTALL
)
# On SQLite a savepoint begins one, if none is open.
BOUNDS = ENDING | {"BEGIN", "START", "XA", "SAVEPOINT", "RELEASE"}
NOT_COMMITTING = frozenset(
    word
    for line in (
        "SELECT WITH VALUES TABLE SHOW EXPLAIN DESCRIBE DESC SET USE INSERT REPLACE UPDATE DELETE",
        "SAVEPOINT RELEASE ROLLBACK DEALLOCATE PREPARE",
    )
    for word in line.split()
)
CASCADE = re.compile(r"\bCASCADE\b", re.IGNORECASE)
TEMPORARY = re.compile(r"\s*CREATE\s+TEMP(?:ORARY)?\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w\"`]+)", re.IGNORECASE)
ROWS = re.compile(
    r"^[\s(]*(?:WITH\b.*\b)?(?:INSERT|REPLACE|UPDATE|DELETE|MERGE|TRUNCATE|COPY|LOAD|REFRESH)\b",
    re.IGNORECASE | re.DOTALL,
)
SHARES_ROWS = re.compile(r"\b(?:VIEW|VIRTUAL|INHERITS?|PARTITION|RENAME|CONFLICT)\b", re.IGNORECASE)
OR_FAIL = re.compile(r"\bOR\s+FAIL\b", re.IGNORECASE)
RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)
# FOR UPDATE, which only locks.
LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE)
# What stands in quotes; where a comment or an escape may have some as well, only what is surely a name.
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`""")
NAMES = re.compile(r'"\w+"|`\w+`')
UNSURE = re.compile(r"--|/\*|\\|\$\w*\$|#")
# What stands between the word that says that rows are written, or read, and the table's name; the last after UPDATE OR.
MODIFIERS = frozenset(
    [
        *("ONLY", "LATERAL", "TABLE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"),
        "CONCURRENTLY",
        *("OR", "ABORT", "FAIL", "REPLACE"),
    ]
)
WRITTEN_AFTER = ("UPDATE", "INTO", "COPY", "TRUNCATE", "USING", "INSERT", "REPLACE", "VIEW")
WRITTEN = re.compile(
    r"\b(?<!KEY\s)(?<!DO\s)(?:UPDATE|INTO)\s+(?:ONLY\s+)?((?:[\w]+|\"[^\"]+\"|`[^`]+`)(?:\.(?:[\w]+|\"[^\"]+\"|`[^`]+`))*)",
    re.IGNORECASE,
)
SNAPSHOT = re.compile(
    r"\bISOLATION\s+LEVEL\b(?!\s+READ\s+(?:UN)?COMMITTED\b)|(?:\bSNAPSHOT|TRANSACTION_ISOLATION|\bTX_ISOLATION)\b",
    re.IGNORECASE,
)
# A setting that a parameter may name.
SETS_WHAT_IS_TOLD = re.compile(r"\bset_config\s*\(\s*[%$]", re.IGNORECASE)
OF_ONE_TRANSACTION = re.compile(r"\s*SET\s+(?:TRANSACTION|LOCAL)\b", re.IGNORECASE)
# A write of one table, as Django composes it and most people write it.
PLAIN_WRITE = re.compile(
    r"""\s*(?:(?P<insert>(?:INSERT|REPLACE)\s+(?:IGNORE\s+|OR\s+\w+\s+)?INTO)
            |(?P<update>UPDATE)|(?P<delete>DELETE\s+FROM))
        \s+(?:"(?P<quoted>(?:[^"]|"")+)"|`(?P<ticked>(?:[^`]|``)+)`|(?P<bare>\w+))
        \s*(?:(?P<after>\(|\b(?:SET|WHERE|VALUES|DEFAULT|SELECT)\b)|$)""",
    re.IGNORECASE | re.VERBOSE,
)
UPSERT = re.compile(r"\bON\s+(?:DUPLICATE\s+KEY|CONFLICT\b.*\bDO)\s+UPDATE\b", re.IGNORECASE | re.DOTALL)
FITTING = {"insert": {"(", "VALUES", "DEFAULT", "SELECT", "SET"}, "update": {"SET"}, "delete": {"WHERE", ""}}


class Write(NamedTuple):
    """A statement that may write: a verb and its `table`, or unknown (``'', None``).

    The verbs are ``'insert'``, ``'update'``, ``'delete'``, ``'replace'`` for an INSERT that deletes the rows that are
    in its way, and ``'upsert'`` for one that updates them.
    """

    verb: str
    table: str | None


@lru_cache(maxsize=1024)
def only_reads(sql: str, vendor: str) -> bool:
    """The statement is known to only read, and to leave its transaction and what that sees as they are."""
    return not (parse(sql) or asks_for_snapshot(sql) or may_commit(sql, vendor) or is_bound(sql))


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
    return Write(_verb_of_insert(found, sql) if verb == "insert" else verb, _unquoted(found))


def _verb_of_insert(found: re.Match[str], sql: str) -> str:
    if "REPLACE" in found["insert"].upper():
        return "replace"
    # The expression takes milliseconds where many rows are inserted.
    return "upsert" if "UPDATE" in sql.upper() and UPSERT.search(sql) else "insert"


def _unquoted(found: re.Match[str]) -> str:
    if found["quoted"]:
        return found["quoted"].replace('""', '"')
    return found["ticked"].replace("``", "`") if found["ticked"] else found["bare"]


def mentioned(sql: str, tables: Iterable[str]) -> set[str]:
    """Those of `tables` whose names stand anywhere in a statement."""
    text = sql.lower()
    return {table for table in tables if table.lower() in text}


def parts(sql: str) -> list[str]:
    """The statements that are sent as one; more than there are, where a text or comment has semicolons."""
    return [part for part in sql.split(";") if part.strip()] or [sql] if ";" in sql else [sql]


def may_write_anything(sql: str) -> bool:
    """The single statement runs what its text does not tell, or goes on to tables that refer to the one it names."""
    word = _first_word(sql)
    if word in ("TRUNCATE", "DROP"):
        return CASCADE.search(sql) is not None
    return word in BLIND or RUNS_OTHERS.search(sql) is not None or EXECUTES.match(sql) is not None


@lru_cache(maxsize=1024)
def may_commit(sql: str, vendor: str) -> bool:
    """The statement may have its transaction committed, as any that defines a table does on MariaDB."""
    words = {_first_word(part) for part in parts(sql)}
    if vendor in ("sqlite", "postgresql"):
        return not words.isdisjoint(COMMITTING)
    return not words <= NOT_COMMITTING or RUNS_OTHERS.search(sql) is not None


@lru_cache(maxsize=1024)
def is_bound(sql: str) -> bool:
    """A transaction may begin or end by the statement."""
    return any(_first_word(part) in BOUNDS for part in parts(sql))


@lru_cache(maxsize=1024)
def undoes(sql: str) -> bool:
    """Something that was done before is undone by the statement."""
    return any(_first_word(part) == "ROLLBACK" for part in parts(sql))


@lru_cache(maxsize=1024)
def begins(sql: str) -> bool | None:
    """A transaction is open after it that it began (True), or it ended the one that was (False); None: neither."""
    found = None
    for part in parts(sql):
        words = part.upper().split()
        if BEGINNING.match(part) and not RUNS_OTHERS.search(part):
            found = True
        elif (_first_word(part) in ENDING or words[:2] in (["XA", "COMMIT"], ["XA", "ROLLBACK"])) and not (
            GOES_ON.search(part)
        ):
            found = False
    return found


def _first_word(sql: str) -> str:
    found = FIRST_WORD.match(sql)
    return found.group(1).upper() if found else ""


@lru_cache(maxsize=1024)
def temporary_table(sql: str) -> str | None:
    """The name of the temporary table that a statement makes."""
    found = TEMPORARY.match(sql)
    return None if found is None else found[1].strip('"`').lower()


def defines_shared_rows(sql: str) -> bool:
    """The statement may make a table or view that shows the rows of others, or one that replaces rows."""
    return any(SHARES_ROWS.search(part) and not writes_rows(part) for part in parts(sql))


def writes_rows(sql: str) -> bool:
    """The single statement is for changing rows, not the schema."""
    return ROWS.search(sql) is not None


def is_over_at_once(sql: str, vendor: str) -> bool:
    """The write is over when it was executed: others than PostgreSQL can't commit before all its rows are fetched."""
    return vendor == "postgresql" or RETURNING.search(sql) is None


@lru_cache(maxsize=1024)
def keeps_what_it_did(sql: str) -> bool:
    """A write that fails half-way keeps the first half, on SQLite."""
    return OR_FAIL.search(sql) is not None


def may_write(sql: str) -> bool:
    """The statement is not known to only read."""
    return any(map(_may_write, parts(sql)))


def _may_write(sql: str) -> bool:
    if _first_word(sql) not in READING or RUNS_OTHERS.search(sql):
        return True
    # SELECT ... INTO, WITH ... DELETE, EXPLAIN ANALYZE UPDATE, ANALYZE UPDATE.
    text = LOCKS.sub("", sql)
    return bool(WRITES_WITHIN.search((NAMES if UNSURE.search(text) else QUOTED).sub("''", text)))


@lru_cache(maxsize=1024)
def tables_read(sql: str, known: Collection[str]) -> set[str] | None:
    """The tables of `known` that a query reads; None if it may read others."""
    names, own = _names_after_from(sql)
    by_name = {table.lower(): table for table in known}
    foreign = {each for each in names if each.lower() not in by_name} - own
    if foreign or may_write(sql):
        return None
    # Whatever else names a table may be it: better one too many.
    words = set(re.findall(r"\w+", sql.lower()))
    return {table for table in known if table.lower() in words or table.lower() in {each.lower() for each in names}}


@lru_cache(maxsize=1024)
def strangers(sql: str, known: Collection[str]) -> set[str]:
    """The names of what a statement may write to that are not `known` tables: views and partitions, maybe."""
    text = LOCKS.sub("", sql)
    names, own = _names_after_from(text, WRITTEN_AFTER)
    # What a query names itself can't be written.
    names = (names - own) | {found.rpartition(".")[2].strip('"`') for found in WRITTEN.findall(text)}
    by_name = {table.lower() for table in known} | {"stdin", "stdout", "set"}
    return {name for name in names if name.lower() not in by_name and name.upper() not in MODIFIERS and _is_name(name)}


@lru_cache(maxsize=1024)
def names_read(sql: str) -> frozenset[str]:
    """The names, of tables or whatever else, that stand where a query names what it reads."""
    names, own = _names_after_from(sql, ("TABLE",))
    return frozenset(filter(_is_name, names - own))


@lru_cache(maxsize=1024)
def names_by_with(sql: str) -> frozenset[str]:
    """The names that a query gives to common table expressions."""
    return frozenset(_names_after_from(sql)[1])


def _is_name(text: str) -> bool:
    return bool(text) and not text[0].isdigit() and text[0] not in "%$(?"


def _names_after_from(sql: str, or_after: Collection[str] = ()) -> tuple[set[str], set[str]]:
    """Names of tables after FROM and JOIN, and names that the query gives itself by WITH."""
    tokens = [token for token in sqlparse.parse(sql)[0].flatten() if not _is_blank(token)] if sql.strip() else []
    names, own = set(), set()
    expecting = listing = False
    before = ""
    for token, following, next_but_one in zip(tokens, [*tokens[1:], None], [*tokens[2:], None, None], strict=False):
        word, previous = token.normalized.upper(), before
        after_next = "" if next_but_one is None else next_but_one.value.upper().split()[0]
        before = word
        is_first = word in or_after and previous not in ("KEY", "DO")
        if word in ("INSERT", "REPLACE") and previous not in ("", ")"):
            is_first = False
        if token.is_keyword and (word == "FROM" or word.endswith("JOIN") or word == "TABLE" or is_first):
            expecting, listing = True, word == "FROM" or is_first
        elif expecting and word not in MODIFIERS:
            is_qualifier = following is not None and following.value == "."
            if token.value != "." and not is_qualifier:
                expecting = word == "("
                if not expecting and word not in ("SELECT", "VALUES", "WITH"):
                    names.add(token.value.strip('"`[]'))
        elif listing and word == ",":
            expecting = True
        elif token.is_keyword and word != "AS":
            listing = False
        if following is not None and following.value.upper() == "AS" and after_next in ("(", "MATERIALIZED", "NOT"):
            own.add(token.value.strip('"`[]'))
    return names, own if re.match(r"\s*WITH\b", sql, re.IGNORECASE) else set()


def _is_blank(token: Any) -> bool:
    return token.is_whitespace or token.ttype in sqlparse.tokens.Comment


@lru_cache(maxsize=1024)
def asks_for_snapshot(sql: str) -> bool:
    """The statement chooses what its transaction sees: an isolation level, a snapshot."""
    return any(map(_asks_for_snapshot, parts(sql)))


def _asks_for_snapshot(sql: str) -> bool:
    word = _first_word(sql)
    sets = word in ("SET", "BEGIN", "START") or (word in ("SELECT", "WITH") and "set_config" in sql.lower())
    return sets and bool(SNAPSHOT.search(sql) or SETS_WHAT_IS_TOLD.search(sql))


def is_of_one_transaction(sql: str) -> bool:
    """The single statement sets something until the end of the transaction that is open, on PostgreSQL."""
    return OF_ONE_TRANSACTION.match(sql) is not None and len(parts(sql)) == 1
