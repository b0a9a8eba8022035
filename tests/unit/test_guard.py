"""The guard tells statements that may write from those that only read."""

import pytest

from cacheops_lite.guard import asks_for_snapshot, may_write

WRITES = [
    "INSERT INTO t VALUES (1)",
    "  update t set a=1",
    "-- a comment\nDELETE FROM t",
    "/* SELECT */ REPLACE INTO t VALUES (1)",
    "MERGE INTO t USING s ON 1=1",
    "TRUNCATE t",
    "COPY t FROM STDIN",
    "CALL p()",
    "DO $$ BEGIN END $$",
    "CREATE TABLE t (a int)",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
    "SELECT * INTO s FROM t",
    "EXPLAIN ANALYZE UPDATE t SET a = 1",
    "",
]
READS = [
    "SELECT 1",
    "(SELECT 1) UNION (SELECT 2)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    'SELECT "update", `delete` FROM t',
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR NO KEY UPDATE",
    "SAVEPOINT s",
    'ROLLBACK TO SAVEPOINT "s"',
    "SHOW server_version",
    "PRAGMA table_info(t)",
    "SELECT deleted, updated_at FROM t",
]


@pytest.mark.parametrize("sql", WRITES)
def test_a_statement_that_may_write_is_seen(sql):
    """What is not known to only read may write."""
    assert may_write(sql)


@pytest.mark.parametrize("sql", READS)
def test_a_statement_that_only_reads_is_let_pass(sql):
    """Names that look like keywords don't matter."""
    assert not may_write(sql)


@pytest.mark.parametrize(
    ("sql", "asks"),
    [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", True),
        ("begin isolation level serializable", True),
        ("SET TRANSACTION SNAPSHOT '1'", True),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT", True),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", False),
        ("SET search_path TO x", False),
        ("SELECT snapshot FROM t", False),
    ],
)
def test_a_statement_that_chooses_a_snapshot_is_seen(sql, asks):
    """Afterwards its connection may read older states than the stamps say."""
    assert asks_for_snapshot(sql) is asks
