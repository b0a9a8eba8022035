"""Readers whose transaction pins a snapshot never fill, whatever others commit meanwhile."""

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
    """The project's settings ask for the isolation level."""
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
    """It sees the state of its beginning, and nobody after it does."""
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


def test_a_reader_with_a_snapshot_fills_in_autocommit(pinning, is_hit):
    """There each statement has a snapshot of its own."""
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
# What holds for one transaction is to be said in it, or right before it.
WITHIN = ("SET TRANSACTION", "set local", "/*")


@pytest.mark.parametrize("statement", STATEMENTS.get(connection.vendor, []))
def test_a_reader_that_asked_for_a_snapshot_by_itself_does_not_fill(statement):
    """By a statement, in its transaction or before it."""
    is_within = connection.vendor == "postgresql" and str(statement).startswith(WITHIN)
    # What the server pins by itself is known by then.
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
    """A read within a transaction is kept."""
    with transaction.atomic():
        texts()
    with counted_reads() as counted, transaction.atomic():
        texts()
    return bool(counted.hits)


SESSION = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}


def test_a_snapshot_of_one_transaction_is_over_with_it():
    """On PostgreSQL, which has a statement for that; others' transactions fill again after a new connection."""

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
    """In READ COMMITTED, which Django asks for on MariaDB, and PostgreSQL has by default."""

    def read():
        with transaction.atomic():
            assert texts() == ["old"]
            in_thread(rename)
            assert texts() == ["new"]
        with counted_reads() as counted, transaction.atomic():
            texts()
        hits.append(counted.hits)

    # By a connection that never asked for a snapshot.
    hits = []
    in_thread(read)
    assert hits == [1]
