"""SQL statements are classified as reads, as writes of one table, or as unknown."""

import pytest

from cacheops_lite.sql import (
    Write,
    may_commit,
    may_define_view,
    may_pin_snapshot,
    may_roll_back,
    parse_write,
    tables_mentioned,
    transaction_open_after,
    unknown_write_targets,
)

UNKNOWN = Write("", None)
WRITES = [
    ("INSERT INTO t VALUES (1)", Write("insert", "t")),
    ('INSERT OR IGNORE INTO "t" ("a") VALUES (%s)', Write("insert", "t")),
    ("INSERT IGNORE INTO `t` (`a`) VALUES (%s)", Write("insert", "t")),
    ("REPLACE INTO t SELECT 1", Write("replace", "t")),
    ('insert or replace into "t" ("a") VALUES (%s)', Write("replace", "t")),
    ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO NOTHING", Write("insert", "t")),
    ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1", Write("upsert", "t")),
    ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 1", Write("upsert", "t")),
    ("UPDATE OR REPLACE t SET a = 1", UNKNOWN),
    ("REPLACE t (a) VALUES (1)", UNKNOWN),
    ("  update t set a=1", Write("update", "t")),
    ('UPDATE "odd ""t" SET "a" = %s', Write("update", 'odd "t')),
    ("DELETE FROM t", Write("delete", "t")),
    ("DELETE FROM t WHERE a = 1;", Write("delete", "t")),
    ("-- a comment\nDELETE FROM t", UNKNOWN),
    ("UPDATE t, s SET t.a = s.a", UNKNOWN),
    ("UPDATE t INNER JOIN s SET a = 1", UNKNOWN),
    ("UPDATE public.t SET a = 1", UNKNOWN),
    ("DELETE t FROM t INNER JOIN s", UNKNOWN),
    ("DELETE FROM t USING s WHERE 1=1", UNKNOWN),
    ("DELETE FROM t; DELETE FROM s", UNKNOWN),
    ("MERGE INTO t USING s ON 1=1", UNKNOWN),
    ("TRUNCATE t", UNKNOWN),
    ("COPY t FROM STDIN", UNKNOWN),
    ("CALL p()", UNKNOWN),
    ("DO $$ BEGIN END $$", UNKNOWN),
    ("CREATE TABLE t (a int)", UNKNOWN),
    ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", UNKNOWN),
    ("SELECT * INTO s FROM t", UNKNOWN),
    ("EXPLAIN ANALYZE UPDATE t SET a = 1", UNKNOWN),
    ("", UNKNOWN),
    ("SET a = 1; UPDATE t SET a = 1", UNKNOWN),
    ("BEGIN; TRUNCATE t; COMMIT", UNKNOWN),
    ("SELECT 1; CALL p()", UNKNOWN),
    ("ANALYZE FORMAT=JSON UPDATE t SET a = 1", UNKNOWN),
    ("PREPARE p AS DELETE FROM t", UNKNOWN),
    ("SET STATEMENT max_statement_time = 1 FOR UPDATE t SET a = 1", UNKNOWN),
    ("BEGIN NOT ATOMIC CALL p(); END", UNKNOWN),
    ("WITH q AS (SELECT '5\"'), u AS (UPDATE t SET a = 1), w AS (SELECT '6\"') SELECT 1", UNKNOWN),
    ("WITH q AS (SELECT '`'), u AS (UPDATE t SET a = 1), w AS (SELECT '`') SELECT 1", UNKNOWN),
    ("WITH q AS (SELECT 1 /* ' */), u AS (UPDATE t SET a = 1), w AS (SELECT 1 /* ' */) SELECT 1", UNKNOWN),
    ("WITH q AS (SELECT E'\\' \"'), u AS (UPDATE t SET a = 1), w AS (SELECT E'\\' \"') SELECT 1", UNKNOWN),
    ("EXPLAIN ANALYZE EXECUTE p", UNKNOWN),
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
    "SELECT * FROM t WHERE a = 'to update it'",
    """SELECT ("t"."facts" #> '{a}'), "t"."update" FROM "t" """,
]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("BEGIN", True),
        ("start transaction read only", True),
        ("-- a comment\nBEGIN IMMEDIATE", True),
        ("/* a comment */ begin", True),
        ("XA START 'x'", True),
        ("COMMIT", False),
        ("END", False),
        ("ROLLBACK", False),
        ("XA COMMIT 'x'", False),
        ("BEGIN; UPDATE t SET a = 1", True),
        ("BEGIN; UPDATE t SET a = 1; COMMIT", False),
        ("COMMIT AND NO CHAIN", False),
        ("COMMIT AND CHAIN", None),
        ("ROLLBACK TO s", None),
        ("ROLLBACK WORK TO SAVEPOINT s", None),
        ("COMMIT PREPARED 'x'", None),
        ("BEGIN NOT ATOMIC CALL p(); END", False),
        ("SAVEPOINT s", None),
        ("SELECT CASE WHEN a THEN 1 END FROM t", None),
    ],
)
def test_transaction_open_after_returns_the_state_after_a_statement(sql, found):
    """It returns None if the statement neither opens nor ends a transaction."""
    assert transaction_open_after(sql) is found


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("UPDATE v SET a = (SELECT MAX(a) FROM t)", {"v"}),
        ('UPDATE ONLY public."v" SET a = 1 FROM t', {"v"}),
        ("UPDATE LOW_PRIORITY v, t SET v.a = 1", {"v"}),
        ("UPDATE t JOIN (v) ON 1 = 1 SET v.a = 1", {"v"}),
        ("INSERT IGNORE v (a) SELECT a FROM t", {"v"}),
        ("REPLACE INTO v SELECT * FROM t", {"v"}),
        ("WITH v AS (SELECT 1) UPDATE v SET a = 1 FROM t", {"v"}),
        ("WITH w AS (SELECT * FROM t) INSERT INTO t SELECT * FROM w", set()),
        ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1", set()),
        ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 1", set()),
        ("COPY t FROM STDIN", set()),
        ("TRUNCATE v, t", {"v"}),
        ("SELECT * FROM t FOR UPDATE", set()),
    ],
)
def test_unknown_write_targets_returns_tables_that_are_not_known(sql, names):
    """Here `t` is known; other targets may be views or partitions."""
    assert unknown_write_targets(sql, frozenset({"t"})) == names


@pytest.mark.parametrize(("sql", "write"), WRITES)
def test_a_statement_that_may_write_is_classified_as_a_write(sql, write):
    """The result names the table if it is plain; a statement counts as a write unless it is known to only read."""
    assert parse_write(sql) == write


@pytest.mark.parametrize("sql", READS)
def test_a_statement_that_only_reads_is_not_a_write(sql):
    """Names that look like keywords do not matter."""
    assert parse_write(sql) is None


def test_tables_mentioned_ignores_case_and_quotes():
    assert tables_mentioned('MERGE INTO public."Shop_Product" USING s', ["shop_product", "shop_label"]) == {
        "shop_product"
    }


@pytest.mark.parametrize(
    ("sql", "asks"),
    [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", True),
        ("begin isolation level serializable", True),
        ("SET TRANSACTION SNAPSHOT '1'", True),
        ("SET a = 1; SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", True),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT", True),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", False),
        ("SET search_path TO x", False),
        ("SELECT snapshot FROM t", False),
    ],
)
def test_may_pin_snapshot_recognises_statements_that_choose_a_snapshot(sql, asks):
    """Afterwards the connection may read rows that are older than the versions in Redis."""
    assert may_pin_snapshot(sql) is asks


@pytest.mark.parametrize(
    ("sql", "vendors"),
    [
        ("COMMIT", {"postgresql", "sqlite", "mysql"}),
        ("-- done\nend transaction", {"postgresql", "sqlite", "mysql"}),
        ("UPDATE t SET a = 1; COMMIT;", {"postgresql", "sqlite", "mysql"}),
        ("TRUNCATE TABLE t", {"mysql"}),
        ("CREATE TABLE t (a int)", {"mysql"}),
        ("CALL p()", {"mysql"}),
        ("ANALYZE TABLE t", {"mysql"}),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", {"mysql"}),
        ("SET STATEMENT max_statement_time = 1 FOR CALL p()", {"mysql"}),
        ("UPDATE t SET a = CASE WHEN b THEN 1 END", set()),
        ("SAVEPOINT a", set()),
        ("ROLLBACK", set()),
        ("(SELECT 1)", set()),
    ],
)
def test_may_commit_recognises_explicit_and_implicit_commits(sql, vendors):
    """On MariaDB and MySQL each statement counts unless it is known not to commit."""
    assert {vendor for vendor in ("postgresql", "sqlite", "mysql") if may_commit(sql, vendor)} == vendors


@pytest.mark.parametrize(
    ("sql", "defines"),
    [
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM t", True),
        ("DROP VIEW v", True),
        ("CREATE TABLE p PARTITION OF t FOR VALUES IN (1)", True),
        ("CREATE VIRTUAL TABLE s USING fts5(a, content='t')", True),
        ("CREATE TABLE t (a int UNIQUE ON CONFLICT REPLACE)", True),
        ("ALTER TABLE t RENAME TO s", True),
        ("INSERT INTO t VALUES (1); DROP VIEW v", True),
        ("REFRESH MATERIALIZED VIEW v", False),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO NOTHING", False),
        ("WITH w AS (SELECT rank() OVER (PARTITION BY a) FROM t) DELETE FROM t", False),
    ],
)
def test_may_define_view_recognises_definitions_of_views_and_partitions(sql, defines):
    """Statements that only name such objects, or use PARTITION BY in a window function, do not count."""
    assert may_define_view(sql) is defines


@pytest.mark.parametrize(
    ("sql", "undoing"),
    [("ROLLBACK TO SAVEPOINT s", True), ("SAVEPOINT s; ROLLBACK", True), ("RELEASE SAVEPOINT s", False)],
)
def test_may_roll_back_recognises_rollbacks(sql, undoing):
    """A rollback removes views that were defined since."""
    assert may_roll_back(sql) is undoing
