"""A reader whose transaction pins a snapshot does not fill the cache while other transactions commit."""

import pytest
from django.db import connection, transaction

from cacheops_lite import invalidate_all
from tests.conftest import counted_reads, in_thread
from tests.shop.models import Label, Product

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="its atomic blocks always pin what they see"),
]


@pytest.fixture(autouse=True)
def label(store):
    return Label.objects.create(text="old")


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def rename():
    Label.objects.update(text="new")


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(*(statement if isinstance(statement, tuple) else [statement]))


@pytest.fixture(params=["REPEATABLE READ", "SERIALIZABLE"])
def pinning(request, monkeypatch):
    """Set the isolation level in the database settings of the project."""
    level = request.param
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        level = IsolationLevel[level.replace(" ", "_")]
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"isolation_level": level})
    connection.close()
    yield request.param
    monkeypatch.undo()
    connection.close()


def test_a_reader_with_a_snapshot_does_not_fill(pinning):
    """It sees the state at its beginning, which later readers must not get."""
    if connection.vendor == "mysql" and pinning == "SERIALIZABLE":
        pytest.skip("its readers lock what they read, and writers wait")
    with transaction.atomic():
        Product.objects.nocache().count()
        in_thread(rename)
        assert texts() == ["old"]
        assert Label.objects.filter(text="old").count() == 1
        assert Label.objects.get().text == "old"
    assert texts() == ["new"]
    assert Label.objects.filter(text="old").count() == 0
    assert Label.objects.get().text == "new"


def test_a_reader_in_autocommit_fills_under_each_isolation_level(pinning, is_hit):
    """In autocommit each statement has its own snapshot."""
    texts()
    assert is_hit(texts)
    in_thread(rename)
    assert texts() == ["new"]


STATEMENTS = {
    "postgresql": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "set local transaction_isolation = 'repeatable read'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET default_transaction_isolation = 'repeatable read'",
        "/* for a report */ SET /* the */ TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    ],
    "mysql": [
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET tx_isolation = 'REPEATABLE-READ'",
        "SET @@session.tx_isolation = 'REPEATABLE-READ'",
        "SET autocommit = 0, tx_isolation = 'REPEATABLE-READ', autocommit = 1",
    ],
}
STATEMENTS["postgresql"] += [
    "SELECT set_config('default_transaction_isolation', 'serializable', false)",
    ("SELECT set_config(%s, 'serializable', false)", ["default_transaction_isolation"]),
]
# A level of one transaction is set inside it.
WITHIN = ("SET TRANSACTION", "set local", "/*")


@pytest.mark.parametrize("statement", STATEMENTS.get(connection.vendor, []))
def test_a_reader_that_sets_its_isolation_level_by_sql_does_not_fill(statement):
    """The statement runs in its transaction or before it."""
    is_within = connection.vendor == "postgresql" and str(statement).startswith(WITHIN)
    # This makes the package ask the server for its default isolation level.
    connection.close()
    with transaction.atomic():
        texts()
    invalidate_all()
    if not is_within:
        run(statement)
    try:
        with transaction.atomic():
            if is_within:
                run(statement)
            Product.objects.nocache().count()
            in_thread(rename)
            assert texts() == ["old"]
        assert texts() == ["new"]
    finally:
        connection.close()


def fills():
    """Return whether a read within a transaction is cached."""
    with transaction.atomic():
        texts()
    with counted_reads() as counted, transaction.atomic():
        texts()
    return bool(counted.hits)


SESSION = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}


def test_an_isolation_level_set_for_one_transaction_ends_with_it():
    """PostgreSQL has a statement for that. A level set for the session lasts until the connection is closed."""

    def read():
        with transaction.atomic():
            if connection.vendor == "postgresql":
                run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            texts()
        results.append(fills())
        run(SESSION[connection.vendor])
        invalidate_all()
        results.append(fills())
        if connection.vendor == "postgresql":
            with transaction.atomic():
                run("SET LOCAL transaction_isolation = 'serializable'")
        results.append(fills())
        connection.close()
        results.append(fills())

    results = []
    in_thread(read)
    assert results == [True, False, False, True]


def test_a_reader_without_a_snapshot_fills():
    """The level is READ COMMITTED, which Django requests on MariaDB and which is PostgreSQL's default."""

    def read():
        with transaction.atomic():
            assert texts() == ["old"]
            in_thread(rename)
            assert texts() == ["new"]
        with counted_reads() as counted, transaction.atomic():
            texts()
        hits.append(counted.hits)

    # Use a connection that has never set an isolation level.
    hits = []
    in_thread(read)
    assert hits == [1]
